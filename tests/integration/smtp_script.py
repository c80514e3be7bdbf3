"""An SMTP server that follows a script: what it says at each stage, or that it hangs up or says nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from workers.providers.smtp_settings import Host, Security

HANG_UP = "hang up"
SILENCE = "silence"


class ScriptedServer:
    """Answers each stage with a line of its script, or hangs up, or says nothing."""

    def __init__(self, **script: str) -> None:
        self.script = {
            "greeting": "220 ready", "ehlo": "250-script\r\n250 SIZE 1000000", "mail": "250 2.1.0 ok",
            "rcpt": "250 2.1.5 ok", "data": "354 go", "dot": "250 2.0.0 ok", "rset": "250 ok", "quit": "221 bye",
        } | script  # fmt: skip
        self.connections = 0
        self.messages: list[bytes] = []
        self.commands: list[str] = []
        self.messages_per_connection = 10_000
        self.bytes_before_hang_up = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served = 0
        if not await self._say("greeting", writer):
            return
        while line := await reader.readline():
            word = line.split()[0].decode().lower()
            self.commands.append(line.decode().strip())
            if not await self._say(word, writer) or word == "quit":
                return
            if word == "data" and self.script["data"].startswith("354"):
                if self.bytes_before_hang_up:
                    await reader.readexactly(self.bytes_before_hang_up)
                    return
                self.messages.append(await reader.readuntil(b"\r\n.\r\n"))
                served += 1
                if not await self._say("dot", writer) or served >= self.messages_per_connection:
                    return

    async def _say(self, stage: str, writer: asyncio.StreamWriter) -> bool:
        answer = self.script.get(stage, "502 5.5.1 no")
        if answer == SILENCE:
            await asyncio.sleep(30)
        if answer in {HANG_UP, SILENCE}:
            return False
        writer.write(answer.encode() + b"\r\n")
        await writer.drain()
        return True


@contextlib.asynccontextmanager
async def listening(*servers: ScriptedServer) -> AsyncIterator[tuple[Host, ...]]:
    """The servers' hosts."""
    running = [await asyncio.start_server(server.serve, "127.0.0.1", 0) for server in servers]
    try:
        yield tuple(Host("127.0.0.1", one.sockets[0].getsockname()[1], Security.OPPORTUNISTIC) for one in running)
    finally:
        for one in running:
            one.close()
