"""The completion for bash: one function over COMP_WORDS, without bash-completion's helpers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from command_line import Argument, Line, families, first_words, global_options, lines

from completion.common import every_option, quoted, valued

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
            *)
                case $command in
                    '') command=$word ;;
                    @FAMILIES@) command="$command $word" ;;
                    *) ((position++)) ;;
                esac
                ;;
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


def script() -> str:
    """The whole script, but for its first lines."""
    return (
        _BASH.replace("@VALUED@", " | ".join(valued()))
        .replace("@VALUES@", "\n".join(_bash_values()))
        .replace("@OPTIONS@", "\n".join(_bash_options()))
        .replace("@PLACES@", "\n".join(_bash_places()))
        .replace("@FAMILIES@", " | ".join(families()))
    )


def _bash_values() -> Iterator[str]:
    known: dict[str, str] = {}
    for option in every_option():
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
            return f"_secretsctl_words {quoted(' '.join(argument.choices))}; "
        case _:
            return ""


def _bash_options() -> Iterator[str]:
    yield f"            '') _secretsctl_words {quoted(_flags(global_options()))} ;;"
    for line in lines():
        yield f"            {_case(line)}) _secretsctl_words {quoted(_flags(line.options))} ;;"


def _flags(options: Iterable[Argument]) -> str:
    return " ".join(flag for option in options for flag in option.flags)


def _bash_places() -> Iterator[str]:
    yield f"        :0) _secretsctl_words {quoted(' '.join(first_words()))} ;;"
    for family, names in families().items():
        yield f"        {family}:0) _secretsctl_words {quoted(' '.join(names))} ;;"
    for line in lines():
        for number, place in enumerate(line.places):
            if call := _bash_call(place):
                yield f"        {_case(line)}:{number}) {call.removesuffix('; ')} ;;"


def _case(line: Line) -> str:
    """The command's name as a pattern."""
    return line.command.name.replace(" ", "\\ ")
