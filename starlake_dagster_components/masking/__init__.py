"""The secrets of projects, and how they are kept out of everything that is shown or stored.

This package knows the secrets of a process (``known``) and replaces them in text by ``***`` (``mask``). Whatever leaves the process goes
through it: logs, events, failures, metadata, compute logs, problems, the output of the command line. What is secret follows from names
(``names``) and from how text is written (``patterns``). A secret is found as it is, and as URLs, JSON, shells and SQL write it
(``forms``).
"""

from .exceptions import mask_exception
from .known import LOG_FILTER, build_mask, forget_secrets, holds_secrets, mask_data, mask_text, register_secret_names, register_secrets
from .mask import HIDDEN, Mask
from .names import is_secret_name
from .values import find_secrets

__all__ = [
    "HIDDEN",
    "LOG_FILTER",
    "Mask",
    "build_mask",
    "find_secrets",
    "forget_secrets",
    "holds_secrets",
    "is_secret_name",
    "mask_data",
    "mask_exception",
    "mask_text",
    "register_secret_names",
    "register_secrets",
]
