"""A real corpus that every machine has: the docstrings of the standard library."""

from __future__ import annotations

import importlib
import inspect
from typing import Final

from somagent.domain.actions.local import Document

_NAMES: Final = """abc argparse array ast asyncio.queues base64 bisect calendar codecs collections configparser
contextlib copy csv datetime decimal difflib dis enum fileinput fnmatch fractions functools getpass glob gzip heapq hmac
html http.client http.server inspect io ipaddress itertools json locale logging mimetypes operator os pathlib pdb pickle
platform pprint queue random re sched secrets shelve shlex shutil signal smtplib socket sqlite3 ssl statistics string
struct subprocess tarfile tempfile textwrap threading timeit tokenize traceback types unittest urllib.parse uuid
warnings weakref xml.dom zipfile zlib"""


def library_documents() -> list[Document]:
    """One document a module, class and function."""
    found: dict[str, str] = {}
    for name in _NAMES.split():
        module = importlib.import_module(name)
        found[name] = inspect.getdoc(module) or ""
        for member in getattr(module, "__all__", [one for one in vars(module) if not one.startswith("_")]):
            value = getattr(module, member)
            if inspect.isroutine(value) or inspect.isclass(value):
                found.setdefault(f"{name}.{member}", inspect.getdoc(value) or "")
    return [Document(path=path, content=text[:5000], bytes=len(text.encode())) for path, text in found.items() if text]
