"""Keep the secrets of projects out of everything that is shown or stored.

This package collects the secrets of a process (``known``) and replaces them in text with ``***`` (``mask``). Everything that leaves the
process is masked: logs, events, failures, metadata, compute logs, problems, and the output of the command line. Names (``names``) and
patterns of text (``patterns``) determine what is secret. A secret is found both verbatim and as URLs, JSON, shells, and SQL encode it
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
