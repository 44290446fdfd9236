"""The completion for zsh: _arguments, for the line and for each command."""

from __future__ import annotations

from command_line import Argument, Line, families, first_words, global_options, lines

from completion.common import quoted

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

# In a case of its own: _arguments has left the family's words, its name first.
_ZSH_FAMILY = """\
                {family})
                    _arguments -C '1:command:->second' '*::argument:->rest'
                    case $state in
                        second)
                            local -a members
                            members=({names})
                            _describe command members
                            ;;
                        rest)
                            case $line[1] in
{arguments}
                            esac
                            ;;
                    esac
                    ;;"""


def script() -> str:
    """The whole script, but for its first lines."""
    names = [quoted(f"{name}:{told}") for name, told in first_words().items()]
    cases = [_zsh_arguments(line) for line in lines() if " " not in line.command.name]
    cases += [_zsh_family(family) for family in families()]
    return (
        _ZSH.replace("@GLOBAL@", " \\\n".join(f"        {_zsh_option(o)}" for o in global_options()))
        .replace("@COMMANDS@", "\n".join(f"                {name}" for name in names))
        .replace("@ARGUMENTS@", "\n".join(cases))
    )


def _zsh_arguments(line: Line, word: str = "") -> str:
    specs = [_zsh_option(option) for option in line.options]
    specs += [_zsh_place(number, place) for number, place in enumerate(line.places, 1)]
    joined = " \\\n".join(f"                        {spec}" for spec in specs)
    case = " " * 16
    return f"{case}{word or line.command.name})\n{case}    _arguments \\\n{joined}\n{case}    ;;"


def _zsh_family(family: str) -> str:
    """Its second word, then what that one takes."""
    of_it = [line for line in lines() if line.command.name.startswith(f"{family} ")]
    told = [quoted(f"{_second(line)}:{line.command.summary}") for line in of_it]
    arguments = "\n".join(_zsh_arguments(line, _second(line)) for line in of_it)
    return _ZSH_FAMILY.format(family=family, names=" ".join(told), arguments=arguments)


def _second(line: Line) -> str:
    return line.command.name.rpartition(" ")[2]


def _zsh_option(option: Argument) -> str:
    others = " ".join(option.flags)
    if option.flags[-1] in ("--socket", "--config"):
        others = "--socket --config"
    action = f":{option.metavar.lower()}:{_zsh_action(option)}" if option.metavar else ""
    told = _zsh_text(option.help)
    specs = [
        quoted(f"({others}){flag}{'=' if action and flag.startswith('--') else ''}[{told}]{action}")
        for flag in option.flags
    ]
    return " ".join(specs)


def _zsh_place(number: int, place: Argument) -> str:
    colons = ":" if place.is_needed else "::"
    return quoted(f"{number}{colons}{place.metavar.lower()}:{_zsh_action(place)}")


def _zsh_action(argument: Argument) -> str:
    actions = {"bundle": "_secretsctl_bundles", "file": "_files", "choice": f"({' '.join(argument.choices)})"}
    return actions.get(argument.kind, "")


def _zsh_text(text: str) -> str:
    return text.replace("[", "(").replace("]", ")").replace(":", "\\:")
