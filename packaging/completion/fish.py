"""The completion for fish: a line for each option and each place."""

from __future__ import annotations

from command_line import Argument, first_words, global_options, lines

from completion.common import valued

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

function __secretsctl_in --description 'whether the words of a command are given'
    set -l words (__secretsctl_words)
    test (count $words) -ge (count $argv); or return
    for i in (seq (count $argv))
        test $words[$i] = $argv[$i]; or return
    end
end

function __secretsctl_at --description 'whether they are given, with so many words behind them'
    set -l words (__secretsctl_words)
    __secretsctl_in $argv[2..-1]; and test (count $words) = (math (count $argv) - 1 + $argv[1])
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


def script() -> str:
    """The whole script, but for its first lines."""
    parts = [_FISH.replace("@VALUED@", " ".join(valued()))]
    parts += [_fish_option(option, "__secretsctl_start") for option in global_options()]
    for name, told in first_words().items():
        parts.append(f"complete -c secretsctl -n __secretsctl_start -a {name} -d {_fish_quoted(told)}")
    for line in lines():
        name = line.command.name
        family, _, second = name.rpartition(" ")
        if family:
            told = _fish_quoted(line.command.summary)
            parts.append(f"complete -c secretsctl -n '__secretsctl_at 0 {family}' -a {second} -d {told}")
        parts += [_fish_option(option, f"'__secretsctl_in {name}'") for option in line.options]
        for number, place in enumerate(line.places):
            if values := _fish_values(place):
                parts.append(f"complete -c secretsctl -n '__secretsctl_at {number} {name}' {values}")
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
