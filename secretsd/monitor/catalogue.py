"""Every metric that secretsd has: its name, its labels, and what it says. docs/metrics.md is held to it.

The values of labels are words of secretsd's own and names from the configuration; nothing that a client, a
source or a secret has sent becomes one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["gauge", "counter", "histogram", "info"]


@dataclass(frozen=True, slots=True)
class Metric:
    """`name` is without the _total, _info, _bucket that samples have behind it."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str


def _metric(name: str, kind: Kind, labels: str, meaning: str) -> Metric:
    return Metric(f"secretsd_{name}", kind, tuple(labels.split()), meaning)


# --- both daemons -----------------------------------------------------------------------------------------

BUILD = _metric("build", "info", "daemon version", "What runs; always 1.")
STARTED = _metric("start_timestamp_seconds", "gauge", "", "When this process started, since the epoch.")
READY = _metric("ready", "gauge", "", "1 where /readyz says ready or degraded, 0 where it says not ready.")
CHECKS = _metric("checks", "gauge", "state", "Checks of /readyz?verbose by state: ok, warn, fail.")
LOG_DROPPED = _metric(
    "log_records_dropped",
    "counter",
    "",
    "Log records that standard error did not take: is the journal running?",
)
AUDIT_RECORDS = _metric(
    "audit_records", "counter", "", "The number of the audit log's last record: all since the chain began."
)
AUDIT_LOST = _metric("audit_records_lost", "gauge", "", "Records lost that no record has told of yet.")
AUDIT_UP = _metric(
    "audit_up",
    "gauge",
    "",
    "1 while the audit log can be written; else uses of strict keys, and orders, are refused.",
)

UNUSUAL = _metric(
    "unusual_access",
    "counter",
    "kind",
    "Unusual accesses since this start: new-actor, rate, refusals, probe.",
)

# --- the refresher: bundles -------------------------------------------------------------------------------

REFRESHES = _metric(
    "refreshes",
    "counter",
    "bundle result",
    "Refreshes that ended: ok, or the class of failure (transient, identity, refusal, data, io).",
)
FAILING = _metric("bundle_failing", "gauge", "bundle class code", "1 for each way in which it fails now.")
STATE = _metric(
    "bundle_state",
    "gauge",
    "bundle state",
    "1 for the state it is in, 0 for the others: loaded, notified, published, altered, missing.",
)
GENERATION = _metric("bundle_generation", "gauge", "bundle", "The generation that is published; 0 for none.")
PUBLISHED = _metric(
    "bundle_published_timestamp_seconds", "gauge", "bundle", "When it was published, since the epoch."
)
CONFIRMED_AGE = _metric(
    "bundle_confirmed_age_seconds",
    "gauge",
    "bundle",
    "How long ago its source last confirmed what is published. Steps of the clock do not change it.",
)
MAX_AGE = _metric(
    "bundle_max_age_seconds",
    "gauge",
    "bundle",
    "Its max_age; none where it has none. Beyond it no unit starts.",
)
HELD = _metric("bundle_held", "gauge", "bundle", "1 while an operator holds it or has rolled it back.")
DRIFT = _metric("bundle_drifts", "counter", "bundle", "Times that published files were altered on this host.")
CREATED = _metric(
    "secret_version_created_timestamp_seconds",
    "gauge",
    "bundle source secret",
    "When the version that is published was made, since the epoch; for sources that tell.",
)
SEALED_IN_USE = _metric("bundle_from_sealed_copy", "gauge", "bundle", "1 while it shows its sealed copy.")
SEALED_CONFIRMED = _metric(
    "sealed_copy_confirmed_timestamp_seconds",
    "gauge",
    "bundle",
    "When its source confirmed what a boot would take from its sealed copy, since the epoch.",
)
SEALED_PROBLEM = _metric("sealed_copy_failing", "gauge", "bundle", "1 where the last copy was not made.")

# --- the refresher: units ---------------------------------------------------------------------------------

NOTIFIED = _metric(
    "unit_reports", "counter", "bundle unit outcome", "What units were found or brought to be, by outcome."
)
BEHIND = _metric("unit_behind", "gauge", "bundle unit", "1 while the unit has not loaded what is published.")
UNIT_FAILING = _metric("unit_failing", "gauge", "bundle unit", "Failed attempts to have it load, in a row.")

# --- the refresher: sources -------------------------------------------------------------------------------

FETCHES = _metric(
    "source_fetches", "counter", "source result", "Fetches over a network: answers (a refusal too), or fails."
)
CALLS = _metric("source_calls", "counter", "source operation", "Requests sent; what AWS bills.")
SKEW = _metric(
    "source_clock_skew_seconds", "gauge", "source", "How far this host's clock is ahead of the source's."
)
AWAY = _metric("source_away", "gauge", "source", "1 while another region than the configured one is asked.")
IN_USE = _metric("endpoint_in_use", "gauge", "source endpoint", "1 for the endpoint that is asked first.")
ENDPOINT_FAILURES = _metric(
    "endpoint_failures", "gauge", "source endpoint", "Failures of the endpoint in a row; 0: it answers."
)

# --- the refresher: push, alerts, itself ------------------------------------------------------------------

PUSH_HEALTHY = _metric("push_healthy", "gauge", "source", "1 while its queue answers.")
PUSH_MESSAGES = _metric("push_messages", "counter", "source kind", "Messages: hint, ignored, malformed.")
PUSH_LAST = _metric(
    "push_last_message_timestamp_seconds", "gauge", "source", "When the last message came, since the epoch."
)
PUSH_LAG = _metric(
    "push_lag_seconds",
    "histogram",
    "source",
    "From the time that an event of the queue has to the publish it led to, where that has its version.",
)
PUSH_RESTARTS = _metric(
    "push_restarts", "counter", "source", "Times that its listener had to be started anew."
)
ALERTS = _metric("alerts", "counter", "result", "Runs of alert commands: told, failed; suppressed: not run.")
WORKERS_LOST = _metric("workers_lost", "counter", "", "Workers that died or were killed at their deadline.")
JOURNAL_FAILING = _metric("journal_failing", "gauge", "", "1 while the journal in state_dir is not written.")
CONFIG_REFUSED = _metric("configuration_refused", "gauge", "", "1 after a reload that changed nothing.")

# --- the signer -------------------------------------------------------------------------------------------

REQUESTS = _metric(
    "signer_requests", "counter", "key operation mechanism result", "Uses of keys: ok, failed, or refused."
)
REFUSALS = _metric(
    "signer_refusals", "counter", "reason", "Requests that were not begun, by code; most are not authorized."
)
DURATION = _metric(
    "signer_request_duration_seconds", "histogram", "key operation", "From a request's arrival to its answer."
)
QUEUE = _metric("signer_queue_length", "gauge", "", "Requests that wait for a session of the token.")
UNDER_WAY = _metric("signer_requests_under_way", "gauge", "", "Requests that are not yet answered.")
CONNECTIONS = _metric("signer_connections", "gauge", "", "Open connections of both sockets.")
TURNED_AWAY = _metric("signer_connections_turned_away", "counter", "", "Connections beyond a user's share.")
TOKEN_UP = _metric("signer_token_up", "gauge", "", "1 while the token can be used.")
BREAKER_OPEN = _metric("signer_breaker_open", "gauge", "", "1 while the token fails again and again.")
KEY_UP = _metric("signer_key_up", "gauge", "key", "1 where the key was found on the token and can be used.")

# --- the shipper ------------------------------------------------------------------------------------------

SHIPPED = _metric("shipper_records", "counter", "sink chain", "Records that the sink has taken.")
SHIP_REFUSED = _metric("shipper_refused", "counter", "sink chain", "Records that the sink will never take.")
SHIP_MISSING = _metric(
    "shipper_missing",
    "counter",
    "sink chain",
    "Records that were removed from the host before they were sent.",
)
SHIP_FLAWS = _metric(
    "shipper_flaws", "counter", "sink chain", "Pieces in which something did not fit: sent all the same."
)
ANCHORS = _metric("shipper_anchors", "counter", "sink chain", "Anchors that were made.")
WAITING_BYTES = _metric(
    "shipper_waiting_bytes", "gauge", "sink chain", "In the audit files, behind what the sink has."
)
LAG_RECORDS = _metric("shipper_lag_records", "gauge", "sink chain", "Records that the sink has not got yet.")
LAG = _metric(
    "shipper_lag_seconds", "gauge", "sink chain", "The age of the oldest of them; 0 where there is none."
)
BATCH_AGE = _metric(
    "shipper_batch_age_seconds", "gauge", "sink", "How long a record may wait for others: that is no trouble."
)
SINK_FAILING = _metric("shipper_failing", "gauge", "sink code", "1 while nothing is taken, by what is wrong.")
LAST_SUCCESS = _metric(
    "shipper_last_success_timestamp_seconds",
    "gauge",
    "sink",
    "When the sink took something last, since the epoch.",
)
LAST_ANCHOR = _metric(
    "shipper_last_anchor_timestamp_seconds",
    "gauge",
    "sink chain",
    "When the last anchor was made, since the epoch.",
)
UNANCHORED = _metric(
    "shipper_unanchored_seconds",
    "gauge",
    "sink chain",
    "How long an anchor is due that is not made; mostly 0.",
)
TRAIL_BYTES = _metric("shipper_trail_bytes", "gauge", "chain", "What the chain's files take on this host.")
TRAIL_FREE = _metric("shipper_trail_free_bytes", "gauge", "chain", "Free room on their disk.")

OF_BOTH = (BUILD, STARTED, READY, CHECKS, LOG_DROPPED, AUDIT_RECORDS, AUDIT_LOST, AUDIT_UP, UNUSUAL)
OF_REFRESHER = (
    *(REFRESHES, FAILING, STATE, GENERATION, PUBLISHED, CONFIRMED_AGE, MAX_AGE, HELD, DRIFT, CREATED),
    *(SEALED_IN_USE, SEALED_CONFIRMED, SEALED_PROBLEM, NOTIFIED, BEHIND, UNIT_FAILING),
    *(FETCHES, CALLS, SKEW, AWAY, IN_USE, ENDPOINT_FAILURES),
    *(PUSH_HEALTHY, PUSH_MESSAGES, PUSH_LAST, PUSH_LAG, PUSH_RESTARTS, ALERTS, WORKERS_LOST),
    *(JOURNAL_FAILING, CONFIG_REFUSED),
)
OF_SIGNER = (
    *(REQUESTS, REFUSALS, DURATION, QUEUE, UNDER_WAY, CONNECTIONS, TURNED_AWAY, TOKEN_UP, BREAKER_OPEN),
    KEY_UP,
)
OF_SHIPPER = (
    *(SHIPPED, SHIP_REFUSED, SHIP_MISSING, SHIP_FLAWS, ANCHORS, WAITING_BYTES, LAG_RECORDS, LAG, BATCH_AGE),
    *(SINK_FAILING, LAST_SUCCESS, LAST_ANCHOR, UNANCHORED, TRAIL_BYTES, TRAIL_FREE),
)
EVERYTHING = (*OF_BOTH, *OF_REFRESHER, *OF_SIGNER, *OF_SHIPPER)
