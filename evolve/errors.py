"""Everything evolve raises on purpose.

EvolveError                 what a user can mend; the command line prints it without a traceback
├── UsageError              a wrong argument, option or file name (exit code 2)
├── SettingsError           an unknown, missing or out-of-range setting
├── ProblemError            a problem folder that breaks a rule of problem.toml
├── ProgramError            source text that is no usable program (does not parse, lacks the entry point)
├── EvaluatorError          the trusted evaluator itself failed; stops the run, blames no candidate
├── JailError               the sandbox cannot be built, or is weaker than the settings demand
├── BackendError            workers that cannot be reached, or were lost too often; the run can be resumed
├── JournalError            a run folder that is missing, damaged, or written by another version
├── ModelError              a language model that cannot be asked: no key, a refused key, no known price
└── PublishError            a champion that cannot be published as asked

What a candidate does wrong is never an exception: it is a `Status` (see records.py).
"""


class EvolveError(Exception):
    """Base of all errors with a text for the user: the value, the rule, the next step."""


class UsageError(EvolveError):
    """A command was used wrongly."""


class SettingsError(EvolveError):
    """A setting is unknown, missing or out of range."""


class ProblemError(EvolveError):
    """A problem folder breaks a rule."""


class ProgramError(EvolveError):
    """A source text is no usable program."""


class EvaluatorError(EvolveError):
    """The trusted evaluator raised or lacks data: nobody can be scored."""


class JailError(EvolveError):
    """The sandbox cannot be built at the level that is demanded."""


class BackendError(EvolveError):
    """The workers of a cluster cannot be had, or were lost too often; no candidate is to blame."""


class JournalError(EvolveError):
    """A run's journal is missing, damaged or foreign."""


class ModelError(EvolveError):
    """A language model cannot be asked as things are."""


class PublishError(EvolveError):
    """A candidate cannot be published."""
