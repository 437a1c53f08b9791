"""GELF over HTTP: each request's body is a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker_runner.engine.gelf_messages import LONGEST_MESSAGE_BYTES, GelfReader

if TYPE_CHECKING:
    import h11

_ACCEPTED, _WRONG_METHOD, _TOO_LARGE = 202, 405, 413


class HttpRequests:
    """The requests of one connection, one after the other.

    Args:
        reader: takes the messages.
    """

    def __init__(self, reader: GelfReader) -> None:
        import h11

        self._reader = reader
        self._connection = h11.Connection(h11.SERVER)
        self._body = b""
        self._is_post = False
        self.is_over = False

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; gives what to answer."""
        import h11

        answers = []
        try:
            self._connection.receive_data(data)
            while (event := self._connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                answers.append(self._answer(event))
                if self.is_over:
                    break
        except h11.RemoteProtocolError as error:
            self.is_over = True
            self._reader.refuse(data, f"A request to the GELF server is not HTTP ({error})")
        return b"".join(answers)

    def close(self) -> None:
        """The connection is at its end; a request without an end is none."""

    def _answer(self, event: h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]) -> bytes:
        import h11

        if isinstance(event, h11.Request):
            self._is_post = event.method == b"POST"
            self._body = b""
            # Who asks first (curl, with large bodies) waits for this.
            if self._connection.they_are_waiting_for_100_continue:
                return self._send(h11.InformationalResponse(status_code=100, headers=[]))
        elif isinstance(event, h11.Data):
            self._body += event.data
            if len(self._body) > LONGEST_MESSAGE_BYTES:
                self._reader.take(self._body)
                self.is_over = True
                return self._respond(_TOO_LARGE)
        elif isinstance(event, h11.EndOfMessage):
            if not self._is_post:
                self.is_over = True
                return self._respond(_WRONG_METHOD)
            self._reader.take(self._body)
            answer = self._respond(_ACCEPTED)
            if self._connection.our_state is h11.MUST_CLOSE:
                self.is_over = True
            else:
                self._connection.start_next_cycle()
            return answer
        elif isinstance(event, h11.ConnectionClosed):
            self.is_over = True
        return b""

    def _respond(self, status: int) -> bytes:
        import h11

        headers = [("Content-Length", "0"), *([("Connection", "close")] if self.is_over else [])]
        return self._send(h11.Response(status_code=status, headers=headers)) + self._send(h11.EndOfMessage())

    def _send(self, event: h11.Event) -> bytes:
        return self._connection.send(event) or b""
