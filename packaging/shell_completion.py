#!/usr/bin/env python3
"""Prints the completion of secretsctl for a shell: packaging/shell_completion.py bash|zsh|fish

It is made from secretsctl's own parser when the package is built. Bundles' names are asked of the daemon,
with the --socket or --config of the line; where it does not answer, or may not, there are none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from command_line import Argument, Line, global_options, lines

_HEAD = "# Completion of secretsctl; made from its parser by packaging/shell_completion.py.\n"


def main() -> int:
    makers = {"bash": bash, "zsh": zsh, "fish": fish}
    if sys.argv[1:2] == [] or sys.argv[1] not in makers or len(sys.argv) > 2:
        print(f"usage: {sys.argv[0]} {'|'.join(makers)}", file=sys.stderr)
        return 64
    print(makers[sys.argv[1]](), end="")
    return 0


def _valued(options: Iterable[Argument]) -> list[str]:
    return [flag for option in options if option.metavar for flag in option.flags]


def _every_option() -> list[Argument]:
    return [*global_options(), *(option for line in lines() for option in line.options)]


def _quoted(text: str) -> str:
    """For a shell's single quotes."""
    return "'" + text.replace("'", "'\\''") + "'"


# --- bash ----------------------------------------------------------------------------------------------

_BASH = """\
_secretsctl_words() {
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}

_secretsctl_files() {
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
}

_secretsctl_bundles() {
    _secretsctl_words "$(secretsctl "${where[@]}" status --names 2>/dev/null)"
}

_secretsctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command='' word i position=0
    local -a where=()
    COMPREPLY=()
    # --option=value comes as three words.
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
            @VALUED@)
                if [[ ${COMP_WORDS[i + 1]} == = ]]; then ((i++)); fi
                ((i++))
                if [[ $word == --socket || $word == --config ]] && ((i < COMP_CWORD)); then
                    where=("$word" "${COMP_WORDS[i]}")
                fi
                ;;
            -* | =) ;;
            *) if [[ -z $command ]]; then command=$word; else ((position++)); fi ;;
        esac
    done
    case $prev in
@VALUES@
    esac
    if [[ $cur == -* ]]; then
        case $command in
@OPTIONS@
        esac
        return
    fi
    case $command:$position in
@PLACES@
    esac
}

complete -F _secretsctl secretsctl
"""


def bash() -> str:
    valued = sorted(set(_valued(_every_option())))
    return _HEAD + (
        _BASH.replace("@VALUED@", " | ".join(valued))
        .replace("@VALUES@", "\n".join(_bash_values()))
        .replace("@OPTIONS@", "\n".join(_bash_options()))
        .replace("@PLACES@", "\n".join(_bash_places()))
    )


def _bash_values() -> Iterator[str]:
    known: dict[str, str] = {}
    for option in _every_option():
        for flag in option.flags:
            if option.metavar:
                known.setdefault(flag, _bash_call(option))
    for flag, call in sorted(known.items()):
        yield f"        {flag}) {call}return ;;"


def _bash_call(argument: Argument) -> str:
    match argument.kind:
        case "bundle":
            return "_secretsctl_bundles; "
        case "file":
            return "_secretsctl_files; "
        case "choice":
            return f"_secretsctl_words {_quoted(' '.join(argument.choices))}; "
        case _:
            return ""


def _bash_options() -> Iterator[str]:
    yield f"            '') _secretsctl_words {_quoted(_flags(global_options()))} ;;"
    for line in lines():
        yield f"            {line.command.name}) _secretsctl_words {_quoted(_flags(line.options))} ;;"


def _flags(options: Iterable[Argument]) -> str:
    return " ".join(flag for option in options for flag in option.flags)


def _bash_places() -> Iterator[str]:
    names = " ".join(line.command.name for line in lines())
    yield f"        :0) _secretsctl_words {_quoted(names)} ;;"
    for line in lines():
        for number, place in enumerate(line.places):
            if call := _bash_call(place):
                yield f"        {line.command.name}:{number}) {call.removesuffix('; ')} ;;"


# --- zsh -----------------------------------------------------------------------------------------------

_ZSH = """\
_secretsctl_bundles() {
    local -a names
    names=(${(f)"$(secretsctl $where status --names 2>/dev/null)"})
    compadd -a names
}

_secretsctl() {
    local curcontext=$curcontext state line i
    local -a where
    typeset -A opt_args
    for ((i = 2; i < CURRENT; i++)); do
        case $words[i] in
            --socket|--config) ((i + 1 < CURRENT)) && where=($words[i] $words[i+1]) ;;
            --socket=*|--config=*) where=($words[i]) ;;
        esac
    done
    _arguments -C \\
@GLOBAL@ \\
        '1:command:->command' \\
        '*::argument:->argument'
    case $state in
        command)
            local -a commands
            commands=(
@COMMANDS@
            )
            _describe command commands
            ;;
        argument)
            case $line[1] in
@ARGUMENTS@
            esac
            ;;
    esac
}

_secretsctl "$@"
"""


def zsh() -> str:
    names = [_quoted(f"{line.command.name}:{line.command.summary}") for line in lines()]
    return f"#compdef secretsctl\n{_HEAD}" + (
        _ZSH.replace("@GLOBAL@", " \\\n".join(f"        {_zsh_option(o)}" for o in global_options()))
        .replace("@COMMANDS@", "\n".join(f"                {name}" for name in names))
        .replace("@ARGUMENTS@", "\n".join(_zsh_arguments(line) for line in lines()))
    )


def _zsh_arguments(line: Line) -> str:
    specs = [_zsh_option(option) for option in line.options]
    specs += [_zsh_place(number, place) for number, place in enumerate(line.places, 1)]
    joined = " \\\n".join(f"                        {spec}" for spec in specs)
    case = " " * 16
    return f"{case}{line.command.name})\n{case}    _arguments \\\n{joined}\n{case}    ;;"


def _zsh_option(option: Argument) -> str:
    others = " ".join(option.flags)
    if option.flags[-1] in ("--socket", "--config"):
        others = "--socket --config"
    action = f":{option.metavar.lower()}:{_zsh_action(option)}" if option.metavar else ""
    told = _zsh_text(option.help)
    specs = [
        _quoted(f"({others}){flag}{'=' if action and flag.startswith('--') else ''}[{told}]{action}")
        for flag in option.flags
    ]
    return " ".join(specs)


def _zsh_place(number: int, place: Argument) -> str:
    colons = ":" if place.is_needed else "::"
    return _quoted(f"{number}{colons}{place.metavar.lower()}:{_zsh_action(place)}")


def _zsh_action(argument: Argument) -> str:
    actions = {"bundle": "_secretsctl_bundles", "file": "_files", "choice": f"({' '.join(argument.choices)})"}
    return actions.get(argument.kind, "")


def _zsh_text(text: str) -> str:
    return text.replace("[", "(").replace("]", ")").replace(":", "\\:")


# --- fish ----------------------------------------------------------------------------------------------

_FISH = """\
function __secretsctl_words --description 'the words of the line without options and their values'
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
        else if contains -- $word @VALUED@
            set skip 1
        else if not string match -q -- '-*' $word
            echo $word
        end
    end
end

function __secretsctl_at --description 'whether COMMAND is given, with so many words behind it'
    set -l words (__secretsctl_words)
    test (count $words) = (math $argv[2] + 1) -a "$words[1]" = $argv[1]
end

function __secretsctl_in --description 'whether COMMAND is given'
    set -l words (__secretsctl_words)
    test "$words[1]" = $argv[1]
end

function __secretsctl_start --description 'whether no command is given yet'
    set -l words (__secretsctl_words)
    test (count $words) = 0
end

function __secretsctl_bundles
    set -l where
    set -l words (commandline -opc)
    for i in (seq (count $words))
        switch $words[$i]
            case --socket --config
                set where $words[$i] $words[(math $i + 1)]
            case '--socket=*' '--config=*'
                set where $words[$i]
        end
    end
    secretsctl $where status --names 2>/dev/null
end

complete -c secretsctl -f
"""


def fish() -> str:
    valued = " ".join(sorted(set(_valued(_every_option()))))
    parts = [_HEAD + _FISH.replace("@VALUED@", valued)]
    parts += [_fish_option(option, "__secretsctl_start") for option in global_options()]
    for line in lines():
        name = line.command.name
        parts.append(
            f"complete -c secretsctl -n __secretsctl_start -a {name} -d {_fish_quoted(line.command.summary)}"
        )
        parts += [_fish_option(option, f"'__secretsctl_in {name}'") for option in line.options]
        for number, place in enumerate(line.places):
            if values := _fish_values(place):
                parts.append(f"complete -c secretsctl -n '__secretsctl_at {name} {number}' {values}")
    return "\n".join(parts) + "\n"


def _fish_option(option: Argument, condition: str) -> str:
    flags = " ".join(f"-l {f[2:]}" if f.startswith("--") else f"-s {f[1:]}" for f in option.flags)
    value = f" -r {_fish_values(option) or '-f'}" if option.metavar else ""
    return f"complete -c secretsctl -n {condition} {flags}{value} -d {_fish_quoted(option.help)}"


def _fish_values(argument: Argument) -> str:
    choices = " ".join(argument.choices)
    values = {
        "bundle": "-a '(__secretsctl_bundles)'",
        "file": "-F",
        "choice": f"-f -a {_fish_quoted(choices)}",
    }
    return values.get(argument.kind, "")


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


if __name__ == "__main__":
    sys.exit(main())
