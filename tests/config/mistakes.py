"""Mistakes by their kind: what follows GOOD's eleven lines, and all that is said about it."""

from __future__ import annotations

from secretsd.config.tables import known_keys
from tests.config.support import BODY, CHANGE, NAME_FORM, OUTPUT, SECRET, SPAN

TYPES = 'must be "aws-secretsmanager" or "aws-ssm" or "vault" or "file" or "env"'
HIDDEN = ("/home/me", "/root/x", "/tmp", "/dev/shm/x", "/run/user/1000")
OUTSIDE = ("../x", "/etc/shadow", "a/../../x", "a//b", "./a", "a/", "..")
TIME_FORM = 'HH:MM-HH:MM, from 00:00 to 24:00, such as "21:00-22:30"'
WINDOW_FORM = (
    'must be days, a time of day or both, and perhaps a time zone: "Mon..Fri 21:00-22:30 UTC", "Sat"'
)

SIGNER = "[signer]\nmodule = '/m.so'\ntoken = 't'\npin = 'credential:p'\n"  # lines 12 to 15
SIZE_FORM = 'must be a size of at least 1M in quotes, such as "64M" or "1G"'
PARAMETER_ID = "'id' must be the name or the ARN of a parameter; 'version' and 'label' have keys of their own"
LABEL = '\'label\' must be 1 to 100 of A-Z, a-z, 0-9, ".", "_", "-", and start with no digit, aws or ssm'
NOT_OF_THE_TYPE = "is not for this type of key: see secretsd.toml(5)"

MISTAKES: dict[str, tuple[str, list[str]]] = {
    "where the audit trail cannot go": (
        "[audit.s3]\nkms_key = 'alias/k'\n"
        "bucket = 's3://trail'\nprefix = '/a'\nretention = '1h'\nbatch_size = '1G'\n"
        "[audit.cloudwatch]\nlog_group = 'a b'\n",
        [
            "13: 'kms_key' must be the ARN of a key, not its id or an alias",
            "14: 'bucket' must be the name of a bucket, not its ARN or URL",
            '15: \'prefix\' must be words of letters, digits, ".", "_", "-", "=", with a slash behind each',
            "16: 'retention' must be 1d to 36500d",
            '17: \'batch_size\' must be a size of "1M" to "64M"',
            "19: 'log_group' must be the name of a log group, not its ARN",
        ],
    ),
    "size without a unit": ("[audit]\nmax_file_size = 64\n", [f"13: 'max_file_size' {SIZE_FORM}"]),
    "size too small": ("[audit]\nmax_file_size = '100K'\n", [f"13: 'max_file_size' {SIZE_FORM}"]),
    "pin in the file": (
        SIGNER.replace("credential:p", "1234"),
        ["15: 'pin' must be credential:NAME or file:/ABSOLUTE/PATH: the PIN itself never stands here"],
    ),
    "token and slot": (
        SIGNER + "slot = 1\n",
        ["12: must name the token by label (token) or by number (slot), not both"],
    ),
    "wrapped by nobody": (
        SIGNER + "[signer.keys]\nkek = { type = 'aes256-wrap' }\n"
        "a = { type = 'hmac', operations = ['hmac'], wrapped_by = 'kke' }\n",
        ["18: 'wrapped_by' names no key of [signer.keys]; did you mean 'kek'?"],
    ),
    "wrapped by a key that cannot": (
        SIGNER + "[signer.keys]\nb = { type = 'hmac', operations = ['hmac'] }\n"
        "a = { type = 'hmac', operations = ['hmac'], wrapped_by = 'b' }\n",
        ["18: 'wrapped_by' must name a key of type aes256-wrap, not the one at secretsd.toml:17"],
    ),
    "one object under two names": (
        SIGNER + "[signer.keys]\nb = { type = 'hmac', operations = ['hmac'] }\n"
        "a = { type = 'hmac', operations = ['hmac'], label = 'b' }\n",
        ["18: key 'a' has the same label as the one at secretsd.toml:17"],
    ),
    "operation of another type": (
        SIGNER + "[signer.keys]\na = { type = 'hmac', operations = ['sign'] }\n",
        [f"17: an element of operations {NOT_OF_THE_TYPE}"],
    ),
    "mechanism of another type": (
        SIGNER
        + "[signer.keys]\na = { type = 'ed25519', operations = ['sign'], mechanisms = ['prehashed'] }\n",
        [f"17: an element of mechanisms {NOT_OF_THE_TYPE}"],
    ),
    "label of a later version": (
        SIGNER + "[signer.keys]\na = { type = 'hmac', operations = ['hmac'], label = 'a:v2' }\n",
        ["17: label must not end in :vN, which is how later versions are named"],
    ),
    "nobody named": (
        SIGNER + "[signer.keys]\na = { type = 'hmac', operations = ['hmac'], allow = [{}] }\n",
        ["17: must name a unit, a user or a group: an empty entry would match everybody"],
    ),
    "unit of our own": (
        SIGNER + "[signer.keys]\na = { type = 'hmac', operations = ['hmac'],"
        " allow = [{ unit = 'secretsd-signer.service' }] }\n",
        ["17: 'unit' is a part of secretsd: name the service that uses its files or keys"],
    ),
    "one socket for both": (
        SIGNER + "socket = '/x'\nseqpacket_socket = '/x'\n",
        ["17: 'seqpacket_socket' and 'socket' must differ"],
    ),
    "unknown table": ("[bundels.x]\n", ["12: unknown key 'bundels'; did you mean 'bundles'?"]),
    "nothing resembles it": (
        "[zzz]\n",
        ["12: unknown key 'zzz'; known here: daemon, sources, bundles, metrics, audit, unusual, signer"],
    ),
    "unknown key of a source": (
        '[sources.b]\ntype = "aws-secretsmanager"\n# region\n  "regoin" = "x"\n',
        ["15: unknown key 'regoin'; did you mean 'region'?"],
    ),
    "unknown key of a bundle": (
        "[bundles.bot.outptus]\npath = 'env'\n",
        ["12: unknown key 'outptus'; did you mean 'outputs'?"],
    ),
    "unknown key of a secret": (
        SECRET + "variabel = 'A'\n",
        ["15: unknown key 'variabel'; did you mean 'variable'?"],
    ),
    "unknown key of a rule": (
        "[bundles.bot.variables]\nTOKEN = { minlength = 3 }\n",
        ["13: unknown key 'minlength'; did you mean 'min_length'?"],
    ),
    "unknown key of an output": (
        "[[bundles.bot.outputs]]\npath = 'e'\nformat = 'env'\nmode = '0600'\n",
        ["15: unknown key 'mode'; known here: path, format"],
    ),
    "unknown key of a change": (
        CHANGE + "confrim = '1s'\n",
        ["15: unknown key 'confrim'; did you mean 'confirm'?"],
    ),
    "misspelt required key": (
        '[[bundles.bot.secrets]]\nsorce = "aws"\nid = "b"\nvariable = "B"\n',
        ["13: unknown key 'sorce'; did you mean 'source'?"],
    ),
    "missing keys": (
        "[[bundles.bot.secrets]]\nvariable = 'B'\n",
        ["12: 'id' is missing here", "12: 'source' is missing here"],
    ),
    "type of source": ("[sources.b]\ntype = 'consul'\n", [f"13: 'type' {TYPES}"]),
    "type of source misspelt": (
        "[sources.b]\ntype = 'flie'\n[sources.c]\ntype = 3\nregoin = 'x'\n",
        [
            f"13: 'type' {TYPES}; did you mean \"file\"?",
            f"15: 'type' {TYPES}",
            "16: unknown key 'regoin'; did you mean 'region'?",
        ],
    ),
    "type of source missing": ("[sources.b]\n", ["12: 'type' is missing here"]),
    "type of source under another name": (
        "[sources.b]\ntpe = 'file'\ndirectory = 3\n",
        ["13: unknown key 'tpe'; did you mean 'type'?"],
    ),
    "keys of a source of type file": (
        "[sources.b]\ntype = 'file'\ndirectroy = '/x'\nregion = 'us-east-1'\n"
        "[sources.c]\ntype = 'file'\n[sources.d]\ntype = 'file'\ndirectory = 'x'\n",
        [
            "14: unknown key 'directroy'; did you mean 'directory'?",
            "15: unknown key 'region'; known here: type, directory",
            "16: 'directory' is missing here",
            "20: 'directory' must be an absolute path",
        ],
    ),
    "keys of a source of type env": (
        "[sources.b]\ntype = 'env'\ndirectory = '/x'\n",
        ["14: unknown key 'directory'; known here: type"],
    ),
    "a directory that the service cannot see": (
        "".join(f"[sources.b{n}]\ntype = 'file'\ndirectory = '{d}'\n" for n, d in enumerate(HIDDEN)),
        [
            f"{14 + 3 * n}: 'directory' is hidden from secretsd.service by its sandbox: take one below"
            " /etc or /srv, or run secretsd in the foreground with a runtime_dir of its own"
            for n, _ in enumerate(HIDDEN)
        ],
    ),
    "mounts of a vault with a slash too many": (
        "[sources.b]\ntype = 'vault'\naddress = 'https://vault.example'\nmount = 'secret/'\n"
        "login = { method = 'approle', role_id = 'r', secret_id = 'credential:c', mount = '../approle' }\n",
        [
            f'{line}: \'mount\' must be a path without "/" at its ends, such as "secret" or "a/secret"'
            for line in (15, 16)
        ],
    ),
    "places of a vault that the service cannot see": (
        "[sources.b]\ntype = 'vault'\naddress = 'unix:///tmp/api.sock'\nca_file = '/root/ca.pem'\n"
        "login = { method = 'token', token = 'file:/home/me/token' }\n",
        [
            f"{line}: {key!r} is hidden from secretsd.service by its sandbox: take one below /etc or /srv, or"
            " run secretsd in the foreground with a runtime_dir of its own"
            for line, key in ((14, "address"), (15, "ca_file"), (16, "token"))
        ],
    ),
    "what only a source of AWS has": (
        "[sources.f]\ntype = 'file'\ndirectory = '/srv'\n[sources.e]\ntype = 'env'\n"
        + SECRET.replace("aws", "f")
        + "variable = 'B'\nstage = 'AWSPENDING'\n"
        + SECRET.replace("aws", "e")
        + "variable = 'C'\nversion = 'x'\n",
        [
            "21: 'stage' means nothing here: a source of type 'file' has one version of each",
            "26: 'version' means nothing here: a source of type 'env' has one version of each",
        ],
    ),
    "an id that is no file and none that is no variable": (
        "[sources.f]\ntype = 'file'\ndirectory = '/srv'\n[sources.e]\ntype = 'env'\n"
        "[bundles.b]\nowner = 'root'\nsecrets = [\n"
        + "".join(f"{{ source = 'f', id = '{id_}', variable = 'A{n}' }},\n" for n, id_ in enumerate(OUTSIDE))
        + "{ source = 'e', id = 'A-B', variable = 'B' }]\n",
        [
            *(
                f"{20 + n}: 'id' must be the path of a file below the source's directory, such as"
                ' "bot.json"'
                for n, _ in enumerate(OUTSIDE)
            ),
            f"{20 + len(OUTSIDE)}: 'id' must be the name of a variable, such as \"BOT_SECRETS\"",
        ],
    ),
    "region": (
        "[sources.b]\ntype = 'aws-secretsmanager'\nregion = 'us east'\n",
        ["14: 'region' must be the name of a region, such as \"us-east-1\""],
    ),
    "wrong types": (
        "[bundles.b]\nowner = 3\nimport_all = 'yes'\nsecrets = {}\non_change = 1\nvariables = []\n"
        "refresh_interval = 300\n",
        [
            "13: 'owner' must be a string",
            "14: 'import_all' must be true or false",
            "15: 'secrets' must be an array",
            "16: 'on_change' must be an array",
            "17: 'variables' must be a table",
            '18: \'refresh_interval\' must be a time span in quotes, such as "30s", "5m" or "1h 30m"',
        ],
    ),
    "a value for a table": (
        "[bundles]\nb = 3\n[sources]\nc = 'x'\n",
        ["13: 'b' must be a table", "15: 'c' must be a table"],
    ),
    "an element that is no table": (
        "[bundles.b]\nowner = 'root'\nsecrets = [\n1,\n'x']\n",
        ["15: an element of 'secrets' must be a table", "16: an element of 'secrets' must be a table"],
    ),
    "bundle name": (
        "".join(
            f'[bundles."{name}"]\n{BODY}'
            for name in ("Bot", "a b", "../x", "x" * 65, "control.sock", "metrics.sock")
        ),
        [
            f"12: the name 'Bot' {NAME_FORM}",
            f"15: the name 'a b' {NAME_FORM}",
            f"18: the name '../x' {NAME_FORM}",
            f"21: the name {'x' * 65!r} {NAME_FORM}",
            "24: the name 'control.sock' is the name of secretsd's own socket",
            "27: the name 'metrics.sock' is the name of secretsd's own socket",
        ],
    ),
    "source name": (
        '[sources."-a"]\ntype = "aws-secretsmanager"\n',
        [f"12: the name '-a' {NAME_FORM}"],
    ),
    "variable name": (
        SECRET + "variables = { A-B = 'x' }\n[bundles.bot.variables]\n1A = {}\n",
        [
            "15: the name 'A-B' must be made of letters, digits and _, and not start with a digit",
            "17: the name '1A' must be made of letters, digits and _, and not start with a digit",
        ],
    ),
    "variable name in variable": (
        SECRET + "variable = 'A B'\n",
        ["15: 'variable' must be made of letters, digits and _, and not start with a digit"],
    ),
    "no secrets": ("[bundles.b]\nowner = 'root'\nsecrets = []\n", ["14: 'secrets' must not be empty"]),
    "empty texts": (
        SECRET.replace('"b"', '""') + "stage = ''\nvariables = {}\n",
        ["14: 'id' must not be empty", "15: 'stage' must not be empty", "16: 'variables' must not be empty"],
    ),
    "control characters": (
        SECRET.replace('"b"', '"b\\n"') + "variable = 'B'\n",
        ["14: 'id' must not contain control characters"],
    ),
    "id too long": (
        SECRET.replace('"b"', f'"{"b" * 2049}"') + "variable = 'B'\n",
        ["14: 'id' is longer than 2048 characters"],
    ),
    "stage and version": (
        SECRET + "variable = 'B'\nstage = 'AWSPREVIOUS'\nversion = 'x'\n",
        ["12: stage and version exclude each other: a version is one, whatever its stage"],
    ),
    "all that excludes each other": (
        SECRET
        + "variable = 'B'\nvariables = { C = 'c' }\nstage = 'A'\nversion = 'x'\n"
        + "[bundles.bot.variables.TOKEN]\nmin = 2\nmax = 1\nmin_length = 2\nmax_length = 1\ndefault = 'x'\n"
        + "required = false\n",
        [
            "12: stage and version exclude each other: a version is one, whatever its stage",
            "12: variable and variables exclude each other: the first takes the value as a whole",
            "19: default and required = false exclude each other: a default is never missing",
            '19: min and max need type = "integer" or "decimal"; a length has min_length, max_length',
            "19: min is above max: no value can satisfy both",
            "19: min_length is above max_length: no value can satisfy both",
        ],
    ),
    "variable and variables": (
        SECRET + "variable = 'B'\nvariables = { C = 'c' }\n",
        ["12: variable and variables exclude each other: the first takes the value as a whole"],
    ),
    "unknown source": (
        SECRET.replace("aws", "asw") + "variable = 'B'\n",
        ["13: 'source' names no source of [sources]; did you mean 'aws'?"],
    ),
    "unknown source, nothing near": (
        SECRET.replace("aws", "vault") + "variable = 'B'\n",
        ["13: 'source' names no source of [sources]; add a table [sources.NAME] for it"],
    ),
    "variable given twice": (
        SECRET + "variable = 'TOKEN'\n",
        ["15: this variable is already given by another secret at secretsd.toml:11"],
    ),
    "variable given twice by maps": (
        SECRET + "variables = { B = 'b', TOKEN = 'c' }\n" + SECRET + "variables.B = 'x'\n",
        [
            "15: variable 'TOKEN' is already given by another secret at secretsd.toml:11",
            "19: variable 'B' is already given by another secret at secretsd.toml:15",
        ],
    ),
    "no names": (
        "[bundles.b]\nowner = 'root'\nsecrets = [{ source = 'aws', id = 'x' }]\n",
        [
            "12: bundle 'b' names no variable: list them in its variables table or in its secrets,"
            " or set import_all = true"
        ],
    ),
    "no secret gives it": (
        "[bundles.bot.variables]\nTOKEN = {}\nOTHER = {}\nTHIRD = { default = 'x' }\n",
        [
            "14: no secret of this bundle can give 'OTHER': each takes only what its own variable or"
            " variables names"
        ],
    ),
    "nothing taken": (
        SECRET,
        [
            "12: nothing is taken from this secret: give it variable or variables, or list its keys in the"
            " bundle's variables table"
        ],
    ),
    "dangerous names": (
        SECRET
        + "variables = { LD_PRELOAD = 'x' }\n"
        + SECRET
        + "variable = 'PATH'\n[bundles.bot.variables]\nPATH = {}\n",
        [
            f"{line}: a variable {name!r} runs code, redirects its program or breaks the reader of the file,"
            " however well its value is quoted; give the variable another name"
            for line, name in ((15, "LD_PRELOAD"), (19, "PATH"), (21, "PATH"))
        ],
    ),
    "on_refusal": (
        f"[bundles.bot.x]\n[bundles.b]\non_refusal = 'withdrawn'\n{BODY}",
        [
            f"12: unknown key 'x'; known here: {', '.join(known_keys(('bundles', 'b')))}",
            '14: \'on_refusal\' must be "keep" or "withdraw"; did you mean "withdraw"?',
        ],
    ),
    "no owner": (
        "[bundles.b]\nsecrets = [{ source = 'aws', id = 'x', variable = 'A' }]\n",
        ["12: bundle 'b' has no owner: name the user who reads its files"],
    ),
    "owner": (
        "[bundles.b]\nowner = 'a:b'\nsecrets = [{ source = 'aws', id = 'x', variable = 'A' }]\n",
        ["13: 'owner' must be the name of a user"],
    ),
    "intervals": (
        f"[bundles.b]\n{BODY}refresh_interval = '999ms'\n[bundles.c]\n{BODY}refresh_interval = 'infinity'\n",
        ["15: 'refresh_interval' must be at least 1s", f"19: 'refresh_interval' {SPAN}"],
    ),
    "default and required": (
        "[bundles.bot.variables]\nTOKEN = { default = 'x', required = false }\n",
        ["13: default and required = false exclude each other: a default is never missing"],
    ),
    "default against its rule": (
        "[bundles.bot.variables.TOKEN]\nchoices = ['a', 'b']\ndefault = 'c'\n",
        ["14: 'default' breaks the rule it stands in"],
    ),
    "type of a default": (
        "[bundles.bot.variables]\nTOKEN = { default = 1 }\n",
        ["13: 'default' must be a string"],
    ),
    "type of a variable": (
        "[bundles.bot.variables]\nTOKEN = { type = 'int' }\n",
        ['13: \'type\' must be "string" or "integer" or "decimal" or "boolean"; did you mean "integer"?'],
    ),
    "min without a number": (
        "[bundles.bot.variables]\nTOKEN = { min = 1 }\n",
        ['13: min and max need type = "integer" or "decimal"; a length has min_length, max_length'],
    ),
    "min that is no number": (
        "[bundles.bot.variables.TOKEN]\ntype = 'decimal'\nmin = '1'\nmax = true\n",
        ["14: 'min' must be a number", "15: 'max' must be a number"],
    ),
    "min that is not finite": (
        "[bundles.bot.variables.TOKEN]\ntype = 'decimal'\nmin = nan\nmax = inf\nmin_entropy_bits = inf\n",
        [
            "14: 'min' must be a number",
            "15: 'max' must be a number",
            "16: 'min_entropy_bits' must be a number",
        ],
    ),
    "min above max": (
        "[bundles.bot.variables]\nTOKEN = { type = 'integer', min = 2, max = 1.5 }\n",
        ["13: min is above max: no value can satisfy both"],
    ),
    "lengths crossed": (
        "[bundles.bot.variables]\nTOKEN = { min_length = 2, max_length = 1 }\n",
        ["13: min_length is above max_length: no value can satisfy both"],
    ),
    "lengths": (
        "[bundles.bot.variables.TOKEN]\n"
        "min_length = -1\nmax_length = 1.5\nmin_entropy_bits = 0\nchoices = []\n",
        [
            "13: 'min_length' must not be negative",
            "14: 'max_length' must be a whole number",
            "15: 'min_entropy_bits' must be more than 0",
            "16: 'choices' must not be empty",
        ],
    ),
    "choices": (
        "[bundles.bot.variables.TOKEN]\nchoices = [\n'a',\n1]\n",
        ["15: an element of 'choices' must be a string"],
    ),
    "pattern": (
        "[bundles.bot.variables.TOKEN]\nchoices = ['a']\npattern = '(a'\n",
        ["14: 'pattern' is not a regular expression that Python's re understands"],
    ),
    "choices that their own rule refuses": (
        "[bundles.bot.variables.TOKEN]\ntype = 'integer'\nchoices = [\n'1',\n'one',\n'2.0']\n",
        [f"{line}: an element of 'choices' breaks the rule it stands in" for line in (16, 17)],
    ),
    "groups": (
        "[bundles.bot.variables]\nTOKEN = {}\nA = {}\nB = { default = 'x' }\nC = { required = true }\n"
        "[bundles.bot2]\nowner = 'root'\nsecrets = [{ source = 'aws', id = 'x' }]\ngroups = [\n"
        "['TOKEN', 'TOKN'],\n['A',\n'B'],\n['C',\n'A', 'D']]\n"
        "[bundles.bot2.variables]\nTOKEN = {}\nA = {}\nB = { default = 'x' }\nC = { required = true }\n",
        [
            *(
                f"{line}: no secret of this bundle can give {name!r}: each takes only what its own"
                " variable or variables names"
                for line, name in ((14, "A"), (16, "C"))
            ),
            "21: an element of 'groups' names no variable of this bundle; did you mean 'TOKEN'?",
            "23: 'B' in a group has a default, so it is never missing: take away one of the two",
            "24: 'C' in a group has required = true, so none of its group may be missing: leave it out",
            "25: 'A' is in a group already; put all that depend on each other into one: see the one at"
            " secretsd.toml:22",
            "25: an element of 'groups' names no variable of this bundle; list it in the variables table",
        ],
    ),
    "groups of another shape": (
        "".join(
            f"[bundles.b{n}]\n{BODY}groups = {groups}\n"
            for n, groups in enumerate(("'A'", "['A']", "[['A']]", "[[]]", "[['A', 3]]", "[['A', 'A']]"))
        ),
        [
            "15: 'groups' must be an array",
            "19: an element of 'groups' must be an array",
            *(
                f"{line}: an element of 'groups' must be a group of two variables or more: one alone"
                " depends on no other"
                for line in (23, 27)
            ),
            "31: an element of 'groups' must be a string",
            "35: 'A' is in a group already; put all that depend on each other into one: see the one at"
            " secretsd.toml:35",
        ],
    ),
    "same output path": (
        2 * (OUTPUT + "path = 'a'\n"),
        ["17: 'path' is the same as the one at secretsd.toml:14"],
    ),
    "an output inside a file": (
        "".join(f"{OUTPUT}path = '{path}'\n" for path in ("a/b", "a", "a/b/c", "ab")),
        [
            "17: 'path' is the directory of the one at secretsd.toml:14",
            "20: 'path' needs a directory where there is a file at secretsd.toml:14",
            "20: 'path' needs a directory where there is a file at secretsd.toml:17",
        ],
    ),
    "an output inside of a directory of files": (
        OUTPUT.replace("'env'", "'files'") + "path = 'a'\n" + OUTPUT + "path = 'a/KEY'\n",
        ["17: 'path' lies in the directory of the one at secretsd.toml:14"],
    ),
    "a directory of files around an output": (
        OUTPUT + "path = 'a/KEY'\n" + OUTPUT.replace("'env'", "'files'") + "path = 'a'\n",
        ["17: 'path' is the directory of the one at secretsd.toml:14"],
    ),
    "a directory of files where a file is": (
        OUTPUT + "path = 'a'\n" + OUTPUT.replace("'env'", "'files'") + "path = 'a'\n",
        ["17: 'path' is the same as the one at secretsd.toml:14"],
    ),
    "format": (
        "[[bundles.bot.outputs]]\npath = 'a'\nformat = 'dockr'\n",
        [
            '14: \'format\' must be "env" or "docker" or "dotenv" or "node" or "universal" or "json" or'
            ' "files"; did you mean "docker"?'
        ],
    ),
    "no outputs": (
        f"[bundles.b]\n{BODY}outputs = []\n",
        ["15: 'outputs' must not be empty"],
    ),
    "same unit": (CHANGE + CHANGE, ["16: 'unit' is the same as the one at secretsd.toml:13"]),
    "acknowledgements that name no unit": (
        CHANGE
        + "require_ack = true\n"
        + "".join(CHANGE.replace("bot.s", f"{name}.s") + "require_ack = true\n" for name in "bc"),
        [
            f"{line}: 'require_ack' is for one unit of a bundle, since an acknowledgement names no unit;"
            " it is already set at secretsd.toml:15"
            for line in (19, 23)
        ],
    ),
    "secretsd's own units": (
        "".join(CHANGE.replace("bot.s", f"secretsd{part}.s") for part in ("", "-notify", "-runtime")),
        [
            f"{line}: 'unit' is a part of secretsd: name the service that uses its files or keys"
            for line in (13, 16, 19)
        ],
    ),
    "signal missing": (
        CHANGE.replace("none", "signal"),
        ['12: action = "signal" needs signal = "SIGHUP" or another one that the bot handles'],
    ),
    "signal beside another action": (
        CHANGE + "signal = 'SIGHUP'\n",
        ['15: signal goes with action = "signal" only'],
    ),
    "action": (
        CHANGE.replace("none", "relaod"),
        ['14: \'action\' must be "reload" or "restart" or "signal" or "none"; did you mean "reload"?'],
    ),
    "windows": (
        CHANGE.replace("none", "reload")
        + "windows = ['Sat',\n'Mon-Fri',\n'9-10',\n'Sat 21:00-21:00',\n'Sat UTC x',\n7]\n",
        [
            f"{line}: an element of 'windows' {form}"
            for line, form in (
                (16, 'must name days as Mon, Tue, Wed, Thu, Fri, Sat, Sun: "Sat", "Mon..Fri", "Mon,Wed"'),
                (17, f"must give the time of day as {TIME_FORM}"),
                (18, "must not end when it begins; leave the time out for the whole day"),
                (19, WINDOW_FORM),
                (20, WINDOW_FORM),
            )
        ],
    ),
    "windows that are no array": (
        CHANGE.replace("none", "reload") + "windows = 'Sat'\n",
        ["15: 'windows' must be an array"],
    ),
    "a stagger that outlasts a window": (
        CHANGE.replace("none", "reload") + "windows = ['Sat', '21:00-22:00']\nstagger = '1h'\n",
        ["16: stagger must be shorter than each of windows: some hosts would never be told"],
    ),
    "gates of a unit that nobody touches": (
        "".join(
            CHANGE.replace("bot.s", f"{number}.s") + f"{gate}\n"
            for number, gate in enumerate(("windows = ['Sat']", "stagger = '1m'", "before = ['/bin/true']"))
        ),
        [f'{line}: has no effect with action = "none": nobody is touched' for line in (15, 19, 23)],
    ),
    "a limit on restarts of what is not restarted": (
        CHANGE.replace("none", "reload") + "max_restarts_per_hour = 4\n",
        ['15: max_restarts_per_hour goes with action = "restart" only'],
    ),
    "a limit that never lets through": (
        CHANGE.replace("none", "restart") + "max_restarts_per_hour = 0\n",
        ["15: 'max_restarts_per_hour' must be at least 1"],
    ),
    "before": (
        "[bundles.c]\n"
        + BODY.replace("root", "bot")
        + "".join(
            f"[[bundles.c.on_change]]\nunit = '{number}.service'\naction = 'reload'\nbefore = {before}\n"
            for number, before in enumerate(
                ("[]", "['is-flat']", "'/bin/true'", "['/bin/true', 1]", '["/bin/a\\u0007"]')
            )
        ),
        [
            *(
                f"{line}: 'before' must begin with the absolute path of a program, such as"
                ' ["/usr/local/bin/is-flat"]'
                for line in (18, 22)
            ),
            "26: 'before' must be an array",
            "30: an element of 'before' must be a string",
            "34: 'before' must not contain control characters",
        ],
    ),
    "parameters": (
        "[sources.ssm]\ntype = 'aws-ssm'\n[bundles.c]\nowner = 'root'\n"
        + "".join(
            f"[[bundles.c.secrets]]\nsource = 'ssm'\nvariable = 'V{number}'\n{keys}\n"
            for number, keys in enumerate(
                (
                    "id = '/bot/key:3'",
                    "id = 'a b'",
                    "id = '/aws/reference/secretsmanager/x'",
                    "id = '/bot/key'\nversion = '0'",
                    "id = '/bot/key'\nversion = 'live'",
                    "id = '/bot/key'\nlabel = 'AWSCURRENT'",
                    "id = '/bot/key'\nlabel = '3'",
                    "id = '/bot/key'\nstage = 'AWSPENDING'",
                )
            )
        ),
        [
            f"19: {PARAMETER_ID}",
            f"23: {PARAMETER_ID}",
            "27: 'id' leads to another service: give the secret a source of type 'aws-secretsmanager'",
            "32: 'version' must be a number from 1 on, in quotes: \"3\"",
            "37: 'version' must be a number from 1 on, in quotes: \"3\"",
            f"42: {LABEL}",
            f"47: {LABEL}",
            "52: 'stage' means nothing here: the Parameter Store has labels and versions",
        ],
    ),
    "before as root": (
        CHANGE.replace("none", "reload") + "before = ['/bin/true']\n",
        ["15: 'before' is run as the bundle's owner, and never as root: name a user of its own as owner"],
    ),
    "what goes with before only": (
        CHANGE.replace("none", "reload") + "before_timeout = '10s'\n",
        ["12: before_timeout and before_alarm go with before only"],
    ),
    "before_timeout": (
        CHANGE.replace("none", "reload") + "before_timeout = '6m'\nbefore_alarm = 3\n",
        [
            "15: 'before_timeout' must be at most 5m",
            '16: \'before_alarm\' must be a time span in quotes, such as "30s", "5m" or "1h 30m"',
        ],
    ),
    "confirm": (
        CHANGE + "confirm = '-1s'\nrequire_ack = 1\n",
        [f"15: 'confirm' {SPAN}", "16: 'require_ack' must be true or false"],
    ),
    "alert_command": (
        f"[bundles.b]\nalert_command = ['alert', '--x']\nalert_after = 'soon'\n{BODY}"
        f"[bundles.c]\nalert_command = '/bin/true'\n{BODY}",
        [
            "13: 'alert_command' must begin with the absolute path of a program,"
            ' such as ["/usr/local/bin/is-flat"]',
            f"14: 'alert_after' {SPAN}",
            "18: 'alert_command' must be an array",
        ],
    ),
}
