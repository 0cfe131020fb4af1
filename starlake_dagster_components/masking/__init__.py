"""Keep the secrets of projects out of everything that is shown or stored.

This package collects the secrets of a process (``known``) and replaces them in text with ``***`` (``mask``). Everything that leaves the
process is masked: logs, events, failures, metadata, compute logs, problems, and the output of the command line. Names (``names``) and
patterns of text (``patterns``) determine secrets. A secret is found both verbatim and as URLs, JSON, shells, and SQL encode it
(``forms``).
"""

from .exceptions import mask_exception as mask_exception
from .known import LOG_FILTER as LOG_FILTER
from .known import build_mask as build_mask
from .known import forget_secrets as forget_secrets
from .known import holds_secrets as holds_secrets
from .known import mask_data as mask_data
from .known import mask_text as mask_text
from .known import register_secret_names as register_secret_names
from .known import register_secrets as register_secrets
from .mask import HIDDEN as HIDDEN
from .mask import Mask as Mask
from .names import is_secret_name as is_secret_name
from .values import find_secrets as find_secrets
