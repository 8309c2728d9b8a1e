"""The logger of Snakemake's runs: takes its records, and tells a person what they come to."""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

from snakemake.logging import DefaultFilter
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from xferpipe.console.rounds import round_words
from xferpipe.console.run import CLOSING, Run, RunningJob
from xferpipe.console.screen import Screen, indented
from xferpipe.console.words import duration, job_line, job_words, shortened
from xferpipe.graph.job_log import CONSOLE, failure_in

#: Rule of the rounds of races, whose line says what was decided.
ROUNDS = "choose"
#: Warnings of the jobs that are told at the end; the logs have all.
WARNINGS = 10

#: What Snakemake says before a run that no person needs.
_NOISE = ("Assuming unrestricted shared filesystem", "Building DAG of jobs", "Elapsed time")
#: Beginnings of what it says of failed jobs, which have been told by then.
_TOLD = ("Exiting because a job execution failed", "WorkflowError:\nAt least one job did not")
#: Our message in an error of Snakemake's, which puts places in our own files around it.
_OURS = re.compile(
    r'WorkflowError in file ".*/rules/common\.smk", line \d+:\n(.*?)(\n  File .*)?', re.S
)


class LogHandler(LogHandlerBase):
    """One line a job, a bar on a terminal, and the verdict as the last lines.

    Snakemake makes one in its main process alone, and calls it in one thread of its own.
    `--verbose` has Snakemake's own text in place of ours; `--quiet` leaves out what it says.
    """

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        """Look at Snakemake's settings; nothing is written before the first record."""
        settings = self.common_settings
        self._here = Path.cwd()
        stream = sys.stdout if settings.stdout else sys.stderr
        self._screen = Screen(stream, colours=not settings.nocolor)
        self._quiet = {quiet.name for quiet in settings.quiet or ()}
        self._run = Run()
        #: What was seen: a run, nothing to do, Ctrl-C, a run that did not end well, an error.
        self._begun = self._nothing = self._stopped = self._incomplete = self._broken = False
        self._statistics = ""
        self._held: list[str] = []
        self._own = DefaultFilter(
            settings.quiet,
            settings.debug_dag,
            settings.verbose,
            settings.dryrun,
            settings.printshellcmds,
        )
        if not settings.dryrun:
            os.environ[CONSOLE] = "1"

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record of Snakemake's."""
        try:
            if "ALL" not in self._quiet or self.common_settings.dryrun:
                self._take(record)
        except Exception:
            self.handleError(record)

    def _take(self, record: Any) -> None:
        event = getattr(record, "event", None)
        take = {
            LogEvent.WORKFLOW_STARTED: self._begin,
            LogEvent.RUN_INFO: self._planned,
            LogEvent.JOB_INFO: self._job_begins,
            LogEvent.JOB_FINISHED: self._job_ends,
            LogEvent.JOB_ERROR: self._job_fails,
            LogEvent.GROUP_ERROR: self._group_fails,
            LogEvent.SHELLCMD: self._command,
            LogEvent.ERROR: self._error,
            None: self._words,
        }.get(event)
        if take is not None:
            take(record)
        if self.common_settings.verbose and event != LogEvent.ERROR and self._own.filter(record):
            text = self.format(record)
            if text not in ("", "None"):  # which is what becomes of no text on its way here
                self._screen.line(text)

    def _begin(self, record: Any) -> None:
        self._begun = True

    def _planned(self, record: Any) -> None:
        self._statistics = record.msg
        if self.common_settings.dryrun or self._run.total:
            return
        self._run.plan({rule: n for rule, n in record.stats.items() if rule != "total"})
        rules = _rules()
        if rules is not None and "PROGRESS" not in self._quiet:
            self._screen.line(f"{rules.study.name}: {self._run.jobs}, into {rules.results}/")
            if self._screen.is_terminal:
                from xferpipe.graph.plan import earlier_seconds

                self._run.earlier = earlier_seconds(rules.results)
        if "PROGRESS" not in self._quiet:
            self._screen.follow(self._run)

    def _job_begins(self, record: Any) -> None:
        from xferpipe.graph.plan import planned_job, reason_of

        if record.rule_name == CLOSING:
            return
        job, rules = planned_job(record), _rules()
        reason = reason_of(job, rules)
        if self.common_settings.dryrun:
            if "RULES" not in self._quiet:
                self._screen.line(shortened(job_line(job.rule, job.wildcards, reason)))
            return
        words = job_words(job.rule, job.wildcards)
        logs = list(record.log or ())
        running = RunningJob(job.rule, words, reason, logs, record.benchmark, job.outputs)
        if rules is not None:
            self._run.grow(rules.jobs_in_run)
        self._run.start(record.jobid, running)

    def _job_ends(self, record: Any) -> None:
        finished = self._run.finish(record.job_id)
        if finished is None or self._quiet & {"RULES", "PROGRESS"}:
            return
        job, seconds = finished
        total = self._run.total
        count = f"[{self._run.done:>{len(str(total))}}/{total}]"
        reason = "" if "REASON" in self._quiet else f"   ({job.reason})"
        words = job.words
        if job.rule == ROUNDS and (decided := round_words(job.outputs[0])):
            words = f"{words}: {decided}"
        self._screen.line(shortened(f"{count} {duration(seconds):>6}  {words}{reason}"))

    def _job_fails(self, record: Any) -> None:
        if not record.indent:  # that of a group is told with its group
            self._tell_failure(record.jobid, record.rule_name, record.log, record.rule_msg)

    def _group_fails(self, record: Any) -> None:
        """Tell of the jobs of a group that left a message; of all where none did."""
        jobs = record.job_error_info
        spoken = [job for job in jobs if any(map(failure_in, job["log"]))]
        for job in spoken or jobs:
            logs = [*job["log"], *record.aux_logs]
            self._tell_failure(job["jobid"], job["rule_name"], logs, job["rule_msg"])

    def _tell_failure(self, number: int, rule: str, logs: list[str], otherwise: str | None) -> None:
        held = self._held.pop(0) if self._held else ""
        if self._stopped:
            return
        job = self._run.fail(number)
        messages = [message for message in map(failure_in, logs) if message]
        message = "\n".join(messages) or otherwise or _cause_of_end(held)
        self._screen.line(shortened(f"FAILED  {job.words if job else rule}"), "bold red")
        if message:
            self._screen.line(indented(message))
        for log in logs:
            self._screen.line(f"        log: {self._shown(log)}")

    def _command(self, record: Any) -> None:
        if self.common_settings.printshellcmds and getattr(record, "shellcmd", None):
            self._screen.line(indented(record.shellcmd))

    def _error(self, record: Any) -> None:
        text = record.getMessage()
        if text.startswith(_TOLD):
            self._incomplete = True
            return
        if record.exception == "RuleException" and self._begun:
            # Of a job whose failure is the next record.
            self._held.append(text)
            return
        self._broken = True
        ours = _OURS.fullmatch(text)
        self._screen.line(ours[1] if ours else text, "red")

    def _words(self, record: Any) -> None:
        """Tell what is no event: warnings and errors, and what a person waits for."""
        from snakemake.common import NOTHING_TO_BE_DONE_MSG

        text = record.getMessage()
        if text == NOTHING_TO_BE_DONE_MSG:
            self._nothing = True
        elif text.startswith("Terminating processes on user request"):
            self._stopped = True
            self._screen.line("Stopping the jobs ...")
        elif self.common_settings.verbose:
            return
        elif record.levelno >= logging.WARNING:
            if text.startswith(_TOLD):
                self._incomplete = True
            else:
                self._screen.line(text, "red" if record.levelno >= logging.ERROR else "yellow")
        elif record.levelno == logging.INFO:
            # Installing environments takes minutes. Beside runs, as with --unlock, all is wanted.
            deployed = "deployment" in Path(record.pathname).parts
            if deployed or not (self._begun or text.startswith(_NOISE)):
                self._screen.line(text)

    def close(self) -> None:
        """Tell how it ended; Snakemake calls this when all records have been taken."""
        try:
            self._screen.end()
            if self._begun and "ALL" not in self._quiet:
                self._end()
            self._begun = False  # Python closes every handler once more when it ends
        except Exception:
            # Snakemake passes over what is raised here.
            self.handleError(logging.makeLogRecord({"msg": "the end of the run"}))
        super().close()

    def _end(self) -> None:
        rules, run = _rules(), self._run
        whole = rules is not None and rules.asks_for_all
        for text in self._held:
            if not self._stopped:
                self._screen.line(text, "red")
        self._tell_warnings(rules if whole and not self.common_settings.dryrun else None)
        if self._nothing:
            what = "every result" if whole else "what was asked for"
            self._screen.line(f"Nothing to do: {what} is up to date.")
        if self.common_settings.dryrun:
            if self._statistics:
                self._screen.line(self._statistics.rstrip())
        elif self._incomplete:
            failed = f"{len(run.failed)} failed, " if run.failed else ""
            done = f"{run.done} of {run.jobs} done, {failed}{duration(run.seconds)}"
            self._screen.line(f"{done}; the same command goes on from here", "bold red")
        elif not self._broken:
            if run.total:
                self._screen.line(f"{run.jobs} done, {duration(run.seconds)}")
            if whole:
                self._tell_verdict(rules)

    def _tell_warnings(self, rules: Any) -> None:
        warnings = list(self._run.warnings)
        if rules is not None:
            from xferpipe.console.data_notes import data_notes

            # First: they are of every figure below.
            warnings = [*data_notes(rules, warnings), *warnings]
        for warning in warnings[:WARNINGS]:
            self._screen.line(f"warning: {warning}", "yellow")
        if len(warnings) > WARNINGS:
            rest = len(warnings) - WARNINGS
            self._screen.line(f"and {rest} more warnings, in the logs", "yellow")

    def _tell_verdict(self, rules: Any) -> None:
        from xferpipe.console.verdict import verdict_lines

        # Whole, as a command that was cut is none.
        for line in verdict_lines(rules, self._here):
            self._screen.line(line, "bold")

    def _shown(self, path: str) -> str:
        from xferpipe.console.verdict import shown_path

        return shown_path(Path(path), self._here)


def _rules() -> Any:
    """Return the study's rules; None before they are read, and in another workflow."""
    from xferpipe.graph.rules import latest

    return latest()


def _cause_of_end(text: str) -> str:
    """Shorten what Snakemake says of a process that ended without a message of ours."""
    if signal := re.search(r"died with <Signals\.(\w+): \d+>", text):
        memory = "; perhaps the memory ran out" if signal[1] == "SIGKILL" else ""
        return f"its process was ended by {signal[1]}{memory}"
    if code := re.search(r"returned non-zero exit status (\d+)", text):
        return f"its process ended with exit code {code[1]} and left no message"
    return text
