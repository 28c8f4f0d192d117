"""Where a session's records go: its keeper, its ledger pages, and what it owns up to for lost processes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.results.keeper import Keeper
    from pytest_fileflow.results.ledger import Ledger
    from pytest_fileflow.results.places import Place
    from pytest_fileflow.settings import Settings

logger = logging.getLogger(__name__)


class Recording:
    """One process's part of it; everything is made on first need. ``token`` names the session."""

    def __init__(self, settings: Settings, token: Callable[[], str], aws: Callable[[], AwsClients]) -> None:
        self._settings = settings
        self._token = token
        self._aws = aws
        self._keeper: Keeper | None = None
        self._attendance: Ledger | None = None

    @property
    def played(self) -> tuple[Place, ...]:
        """Return the places that the sandbox plays."""
        return tuple(place for place in self._settings.places if place.is_remote) if self._settings.sandbox else ()

    @property
    def places(self) -> tuple[Place, ...]:
        """Return where records are written; in the sandbox to the folder too, since the rest goes with it."""
        places = self._settings.places
        if self.played and not any(place.kind == "folder" for place in places):
            from pytest_fileflow.results.places import Place

            return (Place("folder", str(self._settings.results)), *places)
        return places

    @property
    def lasting(self) -> list[Place]:
        """Return where records are written and stay: what the sandbox plays is gone with it."""
        return [place for place in self.places if place not in self.played]

    def keeper(self) -> Keeper:
        """Return what records are given to; in the sandbox the places are made."""
        if self._keeper is None:
            for place in self.played:
                from pytest_fileflow.results.making import make

                make(place, self._aws())
            self._keeper = self._keeper_of(self.places)
        return self._keeper

    def keeper_of(self, places: tuple[str, ...]) -> Keeper | None:
        """Return the keeper for the places of another session; None for those that the sandbox must not touch."""
        from pytest_fileflow.results.places import Place, PlaceError

        try:
            found = tuple(map(Place.parse, places)) or self.places
        except PlaceError as error:
            logger.warning("a killed session's results cannot go to %s: %s", ", ".join(places), error)
            return None
        if self._settings.sandbox and any(place.is_remote for place in found):
            return None
        return self._keeper_of(found)

    def _keeper_of(self, places: tuple[Place, ...]) -> Keeper:
        from pytest_fileflow.results.keeper import Keeper
        from pytest_fileflow.results.spool import Spool

        return Keeper(places, self._aws, None if self._settings.sandbox else Spool.of(self._settings.results))

    def ledger(self, process: str) -> Ledger:
        """Return the page of one of this session's processes."""
        from pytest_fileflow.results.ledger import Ledger

        return Ledger.of(self._settings.results, self._token(), process, tuple(map(str, self.lasting)))

    def attend(self) -> None:
        """Let others see that this session goes on, whatever becomes of its workers: it owns up for them."""
        if self._attendance is None:
            self._attendance = self.ledger("main")
            try:
                self._attendance.open()
            except OSError as error:  # the records will say so, where it matters
                logger.info("nobody sees that this session goes on: %s", error.strerror)

    def leave(self) -> None:
        """Let others see that this session goes on no more."""
        if self._attendance is not None:
            self._attendance.close()
            self._attendance = None

    def own_up(self) -> list[dict[str, Any]]:
        """Record the runs whose process was lost, and that no other could clean up; return their reports."""
        from pytest_fileflow.results.ledger import Ledger

        reports = []
        for page in Ledger.all_of(self._settings.results, self._token()):
            from pytest_fileflow.launcher import Report
            from pytest_fileflow.results.settling import own_up

            told = own_up(page, self.keeper())
            reports += [Report(one.record, one.kept.where, one.kept.problem).to_dict() for one in told]
        self.leave()
        return reports
