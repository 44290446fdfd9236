"""An `[[bundles.NAME.on_change]]` table: which unit is told of a change, how, and when."""

# Without `from __future__ import annotations`: pydantic reads the annotations when the classes are made.
from typing import Literal, Self

from pydantic import Field, model_validator

from secretsd.config.fields import (
    AtLeastOne,
    BeforeTimeout,
    Command,
    Several,
    SignalName,
    TimeSpan,
    UnitName,
    refused,
)
from secretsd.config.table import Table, beside
from secretsd.config.windows import WindowText


class OnChange(Table):
    """What happens to a unit when its bundle has changed. An inactive unit is never started."""

    unit: UnitName = Field(description="The service that reads the files.", examples=["trading-bot.service"])
    action: Literal["reload", "restart", "signal", "none"] = Field(
        description="What is done to the unit. A reload or a signal does not change a running process's"
        " environment: the bot must read its file again.",
        examples=["reload", "restart", "none"],
    )
    signal: SignalName | None = Field(
        default=None,
        description='The signal for the unit\'s main process, with action = "signal". It is sent only to a'
        " process that handles it.",
        examples=["SIGHUP"],
        json_schema_extra=beside(action="signal"),
    )
    confirm_s: TimeSpan = Field(
        default=2.0,
        alias="confirm",
        description="The unit counts as loaded only if it is still active after this long.",
        examples=["10s"],
    )
    require_ack: bool = Field(
        default=False,
        description="Whether the unit counts as loaded only once the bot has said so with secretsctl ack."
        " For one unit of a bundle.",
        examples=[True],
    )

    windows: Several[WindowText] = Field(
        default=(),
        description="When the unit may be touched: days, a time of day or both, and perhaps a time zone (else"
        " UTC). Publishing is not delayed, telling the unit is. Without windows it may be touched any time.",
        examples=[["Mon..Fri 21:00-22:30 UTC", "Sat"], ["22:00-02:00 America/New_York"]],
    )
    stagger_s: TimeSpan = Field(
        default=0.0,
        alias="stagger",
        description="Spreads hosts: the unit is told up to this long after the publish, or after its window"
        " has opened, by a hash of the host's name. The delay of a host is always the same.",
        examples=["10m"],
    )
    max_restarts_per_hour: AtLeastOne | None = Field(
        default=None,
        description='With action = "restart": how often secretsd restarts the unit within an hour at the'
        " most. Restarts by others do not count.",
        examples=[4],
        json_schema_extra=beside(action="restart"),
    )
    before: Command | None = Field(
        default=None,
        description="A program and its arguments, run as the bundle's owner right before the unit is touched."
        " Only when it exits with 0 is the unit touched; it is asked again until then.",
        examples=[["/usr/local/bin/is-flat", "--bot", "trading-bot"]],
    )
    before_timeout_s: BeforeTimeout = Field(
        default=30.0,
        alias="before_timeout",
        description="How long the program of before may run. Then it is ended, which counts as a no.",
        examples=["1m"],
        json_schema_extra=beside(before=["/usr/local/bin/is-flat"]),
    )
    before_alarm_s: TimeSpan = Field(
        default=900.0,
        alias="before_alarm",
        description="The program of before may say no for this long before that is reported as trouble.",
        examples=["15m"],
        json_schema_extra=beside(before=["/usr/local/bin/is-flat"]),
    )

    @model_validator(mode="after")
    def _signal_goes_with_its_action(self) -> Self:
        if self.action == "signal" and self.signal is None:
            raise refused('action = "signal" needs signal = "SIGHUP" or another one that the bot handles')
        if self.action != "signal" and self.signal is not None:
            raise refused('signal goes with action = "signal" only', key="signal")
        return self

    @model_validator(mode="after")
    def _gates_fit_together(self) -> Self:
        if self.action == "none" and (key := self._first_gate):
            raise refused('has no effect with action = "none": nobody is touched', key=key)
        if self.max_restarts_per_hour is not None and self.action != "restart":
            raise refused(
                'max_restarts_per_hour goes with action = "restart" only', key="max_restarts_per_hour"
            )
        if self.before is None and self.model_fields_set & {"before_timeout_s", "before_alarm_s"}:
            raise refused("before_timeout and before_alarm go with before only")
        if any(window.length_s <= self.stagger_s for window in self.windows):
            raise refused(
                "stagger must be shorter than each of windows: some hosts would never be told", key="stagger"
            )
        return self

    @property
    def _first_gate(self) -> str:
        keys = {"windows": self.windows, "stagger": self.stagger_s, "before": self.before}
        return next((key for key, value in keys.items() if value), "")

    @property
    def is_gated(self) -> bool:
        """Whether the unit may have to wait before it is touched."""
        return bool(self._first_gate) or self.max_restarts_per_hour is not None
