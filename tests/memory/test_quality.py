"""How well memory finds: docstrings of the standard library, asked for in other words than their first."""

from __future__ import annotations

from typing import Final

import pytest

from somagent.adapters.postgres.database import Database, TenantConnection
from somagent.adapters.slm.builtin import BuiltinProvider
from somagent.domain.actions.remote import RecallParams, RememberAllParams, RetrieveParams
from somagent.domain.memory.citations import NOTHING_FITS
from somagent.services.memory import Author, MemoryService
from somagent.tests.memory.library import library_documents

QUESTIONS: Final = {
    "encode bytes as printable ASCII with 64 characters": "base64",
    "insert into a list and keep it sorted": "bisect.insort",
    "deep copy of a mutable object": "copy.deepcopy",
    "find the n largest elements of an iterable": "heapq.nlargest",
    "priority queue heap algorithm": "heapq",
    "cache the results of a function least recently used": "functools.lru_cache",
    "wrap a paragraph of text to a given width": "textwrap",
    "recursively delete a directory tree": "shutil.rmtree",
    "copy a whole folder to a destination": "shutil.copytree",
    "split a string like a shell does": "shlex.split",
    "quote a string so that the shell takes it as one word": "shlex.quote",
    "median of numeric data": "statistics.median",
    "square root of the variance of a population": "statistics.pstdev",
    "match file names against a Unix shell pattern": "fnmatch",
    "compare sequences and produce a human readable diff": "difflib",
    "make a temporary directory": "tempfile.mkdtemp",
    "parse a URL into its components": "urllib.parse",
    "random URL-safe text token": "secrets.token_urlsafe",
    "keyed hashing for message authentication": "hmac",
    "pretty print a Python object": "pprint",
    "schedule an event at an absolute time": "sched",
    "guess the type of a file from its name": "mimetypes.guess_type",
    "ask for a password without echo": "getpass",
    "compress a string": "zlib",
    "is the IP address reserved for private networks": "ipaddress",
}


@pytest.fixture(scope="module")
async def library(database: Database) -> str:
    """The tenant whose memory holds the docstrings."""
    memory = MemoryService(BuiltinProvider())
    async with database.connection("library") as connection, connection.transaction():
        await memory.remember_all(
            connection,
            "library",
            Author("api", "ann"),
            RememberAllParams(documents=library_documents(), chunk_size=1200),
        )
    return "library"


async def _rank(memory: MemoryService, connection: TenantConnection, question: str, wanted: str) -> int | None:
    items = (await memory.recall(connection, "library", RecallParams(query=question, limit=10))).items
    paths = [str(item.metadata["path"]) for item in items]
    places = [place for place, path in enumerate(paths, start=1) if path == wanted or path.startswith(wanted + ".")]
    return places[0] if places else None


async def test_what_is_asked_for_is_among_the_first(library: str, memory: MemoryService, database: Database) -> None:
    async with database.connection(library) as connection:
        assert await connection.fetchval("SELECT count(*) FROM memories") > 800
        ranks = {question: await _rank(memory, connection, question, wanted) for question, wanted in QUESTIONS.items()}
    reciprocal = sum(1 / rank for rank in ranks.values() if rank) / len(ranks)
    missed = [question for question, rank in ranks.items() if rank is None]
    assert reciprocal >= 0.7, ranks
    assert len(missed) <= 1, missed


@pytest.mark.parametrize(
    "question",
    ["What is the capital of Mongolia?", "Who won the football world cup?", "recipe for potato dumplings with plums"],
)
async def test_what_is_not_there_is_not_answered(
    library: str, memory: MemoryService, database: Database, question: str
) -> None:
    async with database.connection(library) as connection:
        answer = await memory.retrieve(connection, library, RetrieveParams(query=question))
    assert (answer.answer, answer.sources) == (NOTHING_FITS, [])


async def test_an_answer_rests_on_the_source_it_cites(library: str, memory: MemoryService, database: Database) -> None:
    async with database.connection(library) as connection:
        params = RetrieveParams(query="How do I recursively delete a directory tree?", limit=5)
        answer = await memory.retrieve(connection, library, params)
    (source,) = [one for one in answer.sources if one.key.startswith("shutil.rmtree#")]
    assert f"Recursively delete a directory tree. [{source.index}]" in answer.answer
    assert source.provenance.created_by == "ann"
