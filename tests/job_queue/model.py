"""A naive second implementation of the job state machine, on dicts, for comparison."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Hash = dict[str, str]

NOW: Final = "<now>"  # in place of the store's time
KNOWN: Final = (
    *("state", "run", "seq", "enqueued_at", "started_at", "finished_at", "attempts", "phase"),
    *("done", "total", "error", "result", "coalesced", "rerun_seq", "last_run", "last_state"),
    *("last_as_of", "last_finished_at", "last_result", "last_error", "asked_by", "failures"),
)


def number(text: str | None) -> int:
    """A whole number below 10^14; 0 for everything else."""
    return int(text) if text and text.isdecimal() and len(text) <= 14 else 0


@dataclass
class Model:
    """The lock, the jobs (None: no record), the counter, what was published, and the events that
    were told. `rests` tells how long a job with this `rest_from` still rests, in ms."""

    lock: str | None
    jobs: list[Hash | None]
    expire: list[int | None]  # s until each record expires, None: never
    counter: str | None
    rests: dict[str, int]
    published: list[str] = field(default_factory=list)
    told: list[Hash] = field(default_factory=list)

    def record(self, i: int) -> list[str]:
        job = self.jobs[i] or {}
        return [word for name in KNOWN if name in job for word in (name, job[name])]

    def request(self, now: str, channel: str, name: str, by: str) -> Any:
        job = self.jobs[0]
        state = None if job is None else job.get("state")
        run = number((job or {}).get("run"))
        if state is not None:
            run = max(run, 1)
        if job is not None and state == "queued":
            job["coalesced"] = "1"
        elif job is not None and state == "active":
            job["coalesced"] = "1"
            if not job.get("rerun_seq"):
                job |= {"rerun_seq": self._count(), "rerun_at": now}
            run += 1
        else:
            run += 1
            self._queue(0, self._count(), now, run)
            self._publish(channel, name)
            self._tell(0, run, "queued")
        known = self.jobs[0]
        assert known is not None
        if by and known.get("asked_by", "").split(":")[0] != str(run):
            known["asked_by"] = f"{run}:{by}"
        return [run, self.record(0)]

    def take(self, ours: str, now: str, most: int, keep_s: int, rest_ms: int) -> Any:
        if self.lock != ours:
            return ["lost", 0, [], -1]
        candidates, waits = [], []
        for i, job in enumerate(self.jobs):
            state = (job or {}).get("state")
            if job is None or state not in ("queued", "active"):
                continue
            if state == "active" and job.get("lease") == ours:
                job["run"] = str(max(1, number(job.get("run"))))
                return ["ok", i + 1, self.record(i), -1]
            dead = state == "active"
            attempts = number(job.get("attempts"))
            if dead and attempts >= most:
                error = f"the worker died in each of {attempts} attempts"
                if not self._end(i, "failed", "", now, "", error, keep_s):
                    continue
                dead = False
            left = 0 if dead else self._rest(job.get("rest_from"), rest_ms)
            if left:
                waits.append(left)
            else:
                candidates.append((not dead, number(job.get("seq")), i))
        soonest = min(waits, default=-1)
        if not candidates:
            return ["ok", 0, [], soonest]
        _, _, i = min(candidates)
        job = self.jobs[i]
        assert job is not None
        run = max(1, number(job.get("run"))) + bool(job.get("rerun_seq"))
        job |= {
            "state": "active",
            "run": str(run),
            "attempts": str(number(job.get("attempts")) + 1),
        }
        job |= {"rerun_seq": "", "rerun_at": "", "lease": ours, "started_at": now}
        job |= {"phase": "markets", "done": "0", "total": "0"}
        self._tell(i, run, "active")
        return ["ok", i + 1, self.record(i), soonest]

    def progress(self, ours: str, run: str, phase: str, done: str, total: str) -> Any:
        if (no := self._not_mine(ours, run)) is not None:
            return no
        job = self.jobs[0]
        assert job is not None
        job |= {"phase": phase, "done": done, "total": total}
        self.expire[0] = None
        return "ok"

    def finish(
        self, ours: str, run: str, state: str, as_of: str, now: str, result: str, error: str,
        keep_s: int, channel: str, name: str,
    ) -> Any:  # fmt: skip
        job = self.jobs[0] or {}
        before = (job.get("last_run"), job.get("last_lease"), job.get("last_state"))
        if before == (run, ours, state):
            return "ok"
        if (no := self._not_mine(ours, run)) is not None:
            return no
        if self._end(0, state, as_of, now, result, error, keep_s):
            self._publish(channel, name)
        return "ok"

    def hand_back(self, ours: str, run: str, channel: str, name: str) -> Any:
        if (no := self._not_mine(ours, run)) is not None:
            return no
        job = self.jobs[0]
        assert job is not None
        attempts = max(0, number(job.get("attempts")) - 1)
        next_run = number(job.get("run")) + bool(job.get("rerun_seq"))
        seq, at = number(job.get("seq")), number(job.get("enqueued_at"))
        self._queue(0, str(seq), str(at), next_run)
        job["attempts"] = str(attempts)
        self._publish(channel, name)
        self._tell(0, next_run, "queued")
        return "ok"

    def abort(self, now: str, keep_s: int) -> Any:
        if (self.jobs[0] or {}).get("state") in ("queued", "active"):
            self._end(0, "aborted", "", now, "", "", keep_s)
        return self.record(0)

    def look(self, held_ms: Sequence[int], rest_ms: int, lanes: Sequence[int]) -> Any:
        """`held_ms`: what PTTL says of each lane's lock; `lanes`: how many jobs each has."""
        answers, first = [], 0
        for held, jobs in zip(held_ms, lanes, strict=True):
            waits = []
            for job in self.jobs[first : first + jobs]:
                if job is not None and job.get("state") == "active":
                    waits.append(0)
                elif job is not None and job.get("state") == "queued":
                    waits.append(self._rest(job.get("rest_from"), rest_ms))
            first += jobs
            wait = min(waits, default=-1)
            answers.append(max(wait, held) if wait >= 0 and held <= 300_000 else wait)
        return answers

    def _rest(self, since: str | None, rest_ms: int) -> int:
        return rest_ms if since == NOW else self.rests.get(since or "", 0)

    def _not_mine(self, ours: str, run: str) -> str | None:
        job = self.jobs[0] or {}
        if self.lock != ours:
            return "lost"
        mine = (job.get("state"), job.get("run"), job.get("lease")) == ("active", run, ours)
        return None if mine else "aborted"

    def _queue(self, i: int, seq: str, at: str, run: int) -> None:
        job = self.jobs[i] or {}
        job |= {"state": "queued", "run": str(run), "seq": seq, "enqueued_at": at}
        job |= {"attempts": "0", "phase": "queued", "done": "0", "total": "0"}
        for name in ("started_at", "finished_at", "error", "result", "lease", "coalesced"):
            job[name] = ""
        job |= {"rerun_seq": "", "rerun_at": ""}
        self.jobs[i], self.expire[i] = job, None

    def _end(
        self, i: int, state: str, as_of: str, now: str, result: str, error: str, keep_s: int
    ) -> bool:
        """Whether a rerun is queued now."""
        job = self.jobs[i]
        assert job is not None
        run, wanted = number(job.get("run")), bool(job.get("rerun_seq"))
        again = wanted and state != "aborted"
        if wanted and not again:
            run += 1
        self._tell(i, run, state, as_of, error)
        job |= {"last_run": str(run), "last_state": state, "last_as_of": as_of}
        job |= {"last_finished_at": now, "last_result": result, "last_error": error}
        job["last_lease"] = job.get("lease", "")
        if state != "aborted":
            job["failures"] = str(number(job.get("failures")) + 1) if state == "failed" else "0"
        else:
            job["failures"] = str(number(job.get("failures")))
        if job.get("lease"):
            job["rest_from"] = NOW
        if again:
            self._queue(i, str(number(job["rerun_seq"])), str(number(job.get("rerun_at"))), run + 1)
            self._tell(i, run + 1, "queued")
            return True
        done = job.get("total") if state == "complete" and "total" in job else job.get("done")
        job |= {"state": state, "run": str(run), "phase": "done", "done": str(number(done))}
        job |= {"finished_at": now, "result": result, "error": error, "lease": ""}
        job |= {"rerun_seq": "", "rerun_at": ""}
        self.expire[i] = keep_s
        return False

    def _count(self) -> str:
        before = -1 if self.counter == "-1" else number(self.counter)
        counted = before + 1 if self.counter != "abc" else 1
        self.counter = str(counted if 0 < counted < 10**14 else 1)
        return self.counter

    def _tell(self, i: int, run: int, state: str, as_of: str = "", error: str = "") -> None:
        told = {"kind": "job", "job": f"job:{i}", "run": str(run), "state": state}
        self.told.append({**told, "as_of": as_of, "error": error})

    def _publish(self, channel: str, name: str) -> None:
        if channel:
            self.published.append(name)
