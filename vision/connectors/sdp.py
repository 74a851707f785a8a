"""Session descriptions as servers really send them, made into what the WebRTC library takes. Text in, text out.

The description is written anew from what can be used of it (RFC 8866 for its form, RFC 8829 for its meaning):
attributes that the library's parser would trip over are left out, those that it misses are put in. All sections get
one transport, that of the first section that is accepted: our offers are max-bundle, so there is only one.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from vision.errors import SourceError

__all__ = ["Direction", "RemoteDescription", "begins_with_audio", "codecs_of", "direction_of", "is_offer", "sanitised"]

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]

_DIRECTIONS: dict[str, Direction] = {
    "sendrecv": "sendrecv",
    "sendonly": "sendonly",
    "recvonly": "recvonly",
    "inactive": "inactive",
}
_RTP_KINDS = frozenset(["audio", "video"])
_FORBIDDEN_TYPES = range(72, 77)  # they could be taken for RTCP (RFC 5761, 4)
_STATIC_TYPES = {0: "PCMU/8000", 8: "PCMA/8000", 9: "G722/8000"}  # RFC 3551, 6: they need no rtpmap
_PLACEHOLDERS = {"audio": (0, "PCMU/8000"), "video": (96, "VP8/90000")}
_NO_MEDIA = frozenset(["rtx", "red", "ulpfec", "flexfec-03", "telephone-event", "cn"])
_WHOLE_NUMBERS = frozenset(["apt", "max-fr", "max-fs", "maxplaybackrate", "minptime", "stereo", "useinbandfec"])

_MEDIA = re.compile(r"m=\s*([A-Za-z]+)\s+([0-9]{1,5})(?:/[0-9]{1,5})?\s+(\S+)(.*)")
_PAYLOAD_TYPE = re.compile(r"[0-9]{1,3}")
_RTPMAP = re.compile(r"([0-9]{1,3})\s+([A-Za-z0-9.+_-]{1,40})\s*/\s*([0-9]{1,7})(?:/([0-9]{1,2}))?.*")
_FMTP = re.compile(r"([0-9]{1,3})\s+(.+)")
_FEEDBACK = re.compile(r"(\*|[0-9]{1,3})\s+(\S+)(?:\s+(.*))?")
_EXTMAP = re.compile(r"([0-9]{1,3})(?:/[a-z]+)?\s+(\S+).*")  # attributes behind the name are left out
_FINGERPRINT = re.compile(r"([A-Za-z0-9-]{1,20})\s+([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})+)")
_SSRC = re.compile(r"([0-9]{1,10})\s+([^\s:]+):(.*)")
_SSRC_GROUP = re.compile(r"([A-Za-z0-9-]+)((?:\s+[0-9]{1,10})+)")
_TOKEN = re.compile(r"\S+")
_WHOLE = re.compile(r"[0-9]{1,9}")
_CHECKED = {  # other attributes that the library reads, and how they must look
    "msid": re.compile(r"\S+(?: \S+)?"),
    "max-message-size": _WHOLE,
    "sctp-port": _WHOLE,
    "sctpmap": re.compile(r"[0-9]{1,9} \S.*"),
}
_REWRITTEN = frozenset(
    [
        *_DIRECTIONS,
        "mid",
        "setup",
        "ice-ufrag",
        "ice-pwd",
        "ice-lite",
        "ice-options",
        "fingerprint",
        "candidate",
        "end-of-candidates",
        "rtcp",
        "rtcp-mux",
        "rtpmap",
        "fmtp",
        "rtcp-fb",
        "extmap",
        "ssrc",
        "ssrc-group",
        "group",
        "msid-semantic",
    ]
)


@dataclass(frozen=True, slots=True)
class RemoteDescription:
    """What the server sent, as it sent it: its answer to our offer, or an offer of its own."""

    type: Literal["answer", "offer"]
    sdp: str


@dataclass(frozen=True, slots=True)
class _Section:
    """A media section, or the part before the first; `lines` are its attributes without `a=`."""

    kind: str
    port: int
    profile: str
    formats: tuple[str, ...]
    lines: tuple[str, ...]

    def values(self, name: str) -> list[str]:
        """The values of an attribute; empty where it has none."""
        found = (line.partition(":") for line in self.lines)
        return [value.strip() for given, _, value in found if given == name]

    def matching(self, name: str, form: re.Pattern[str]) -> list[re.Match[str]]:
        """The values of an attribute that look as they must."""
        return [match for value in self.values(name) if (match := form.fullmatch(value))]

    def token(self, name: str) -> str | None:
        """The first value of an attribute that is one word."""
        found = self.matching(name, _TOKEN)
        return found[0].group() if found else None

    @property
    def is_accepted(self) -> bool:
        """A port of zero rejects a section (RFC 3264, 6), but not where the offer says bundle-only (RFC 9143, 6)."""
        return self.port != 0 or "bundle-only" in self.lines


@dataclass(frozen=True, slots=True)
class _Format:
    """A payload type of a section, and what is said of it."""

    encoding: str  # name/clock rate[/channels]
    parameters: dict[str, str | None] = field(default_factory=dict)

    @property
    def codec(self) -> str:
        """Name and clock rate, to be compared."""
        return "/".join(self.encoding.lower().split("/")[:2])

    @property
    def name(self) -> str:
        return self.encoding.partition("/")[0]


@dataclass(frozen=True, slots=True)
class _Transport:
    """How the server is reached, the same for all sections."""

    ufrag: str
    password: str
    fingerprints: tuple[str, ...]
    setup: str
    candidates: tuple[str, ...]
    complete: bool

    def lines(self) -> list[str]:
        return [
            *(f"a=candidate:{candidate}" for candidate in self.candidates),
            *(["a=end-of-candidates"] if self.complete else []),
            f"a=ice-ufrag:{self.ufrag}",
            f"a=ice-pwd:{self.password}",
            *(f"a=fingerprint:{fingerprint}" for fingerprint in self.fingerprints),
            f"a=setup:{self.setup}",
        ]


class _UnusableError(Exception):
    """Why a description cannot be used; quotes nothing of it but names of codecs."""


def sanitised(sdp: str, *, offer: str | None) -> str:
    """A server's description in a form that can be given to the WebRTC library.

    :param offer: our offer, where `sdp` is the answer to it; `None` where `sdp` is the server's own offer.
    :raises SourceError: when it cannot be used; one line that says why, without quoting the description.
    """
    try:
        return _sanitised(sdp, _parsed(offer)[1] if offer is not None else None)
    except _UnusableError as error:
        kind = "offer" if offer is None else "answer"
        raise SourceError(f"whep: the server's SDP {kind} cannot be used: {error}") from None


def is_offer(sdp: str) -> bool:
    """Whether a description is really an offer: every section not rejected says `a=setup:actpass` (RFC 8842, 5.2).

    Some servers label such a one an answer.
    """
    session, sections = _parsed(sdp)
    setups = [_setup_of(section, session) for section in sections if section.is_accepted]
    return bool(setups) and all(setup == "actpass" for setup in setups)


def direction_of(sdp: str, kind: Literal["audio", "video"]) -> Direction | None:
    """What the first section of a kind says of its direction; a rejected one is inactive. `None`: there is none."""
    session, sections = _parsed(sdp)
    for section in sections:
        if section.kind == kind:
            return _direction_of(section, session) if section.is_accepted else "inactive"
    return None


def begins_with_audio(sdp: str) -> bool:
    """Whether the first media section is one of sound."""
    _, sections = _parsed(sdp)
    return bool(sections) and sections[0].kind == "audio"


def codecs_of(sdp: str) -> dict[str, list[str]]:
    """The codecs that a description names, by kind, best first."""
    found: dict[str, list[str]] = {}
    for section in _parsed(sdp)[1]:
        for encoding in section.values("rtpmap"):
            name = encoding.partition(" ")[2].partition("/")[0]
            if name.lower() != "rtx" and name not in found.setdefault(section.kind, []):
                found[section.kind].append(name)
    return found


def _parsed(sdp: str) -> tuple[_Section, list[_Section]]:
    """The part before the first media section, and the sections; a section whose m-line is none has no kind."""
    groups: list[list[str]] = [[]]
    for line in (line.strip() for line in sdp.splitlines()):
        if line.startswith("m="):
            groups.append([line])
        else:
            groups[-1].append(line)
    session, *sections = groups
    return _Section("session", 9, "", (), _attributes(session)), [_section(lines) for lines in sections]


def _section(lines: Sequence[str]) -> _Section:
    found = _MEDIA.fullmatch(lines[0])
    if found is None:
        return _Section("", 0, "", (), ())
    kind, port, profile, formats = found.groups()
    return _Section(kind.lower(), int(port), profile.upper(), tuple(formats.split()), _attributes(lines[1:]))


def _attributes(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(line[2:].strip() for line in lines if line.startswith("a="))


def _sanitised(sdp: str, offered: list[_Section] | None) -> str:
    session, sections = _parsed(sdp)
    if not sections:
        raise _UnusableError("it has no media section")
    if any(not section.kind for section in sections):
        raise _UnusableError("one of its m= lines is none")
    if offered is None:
        if any(section.kind not in {*_RTP_KINDS, "application"} for section in sections):
            raise _UnusableError("it has a media section that is neither audio nor video")
        owns: list[_Section | None] = [None] * len(sections)
    else:
        sections = _in_order_of(offered, sections)
        owns = list(offered)
    formats = [_formats(section, own) for section, own in zip(sections, owns, strict=True)]
    accepted = [
        section.is_accepted and (bool(usable) or section.kind not in _RTP_KINDS)
        for section, usable in zip(sections, formats, strict=True)
    ]
    transport = _transport(session, list(itertools.compress(sections, accepted)), is_answer=offered is not None)
    mids = _mids(offered or sections)
    lines = _session_lines(session, sections, list(itertools.compress(mids, accepted)))
    for section, own, usable, is_in, mid in zip(sections, owns, formats, accepted, mids, strict=True):
        if is_in:
            direction = _direction_of(section, session)
            lines += _accepted_lines(section, usable, _towards_us(direction) if offered else direction)
        else:
            lines += _rejected_lines(section, own)
        lines += [f"a=mid:{mid}", *transport.lines()]
    return "".join(f"{line}\r\n" for line in lines)


def _in_order_of(offered: Sequence[_Section], sections: Sequence[_Section]) -> list[_Section]:
    """The answer's sections in the order of the offer's; one that is not answered counts as rejected."""
    left, ordered = list(sections), []
    for own in offered:
        same = next((section for section in left if section.kind == own.kind), None)
        if same is None:
            same = _Section(own.kind, 0, own.profile, (), ())
        else:
            left.remove(same)
        ordered.append(same)
    return ordered


def _mids(sections: Sequence[_Section]) -> list[str]:
    """A name for each section: its own, where it has one that no other has."""
    taken = {section.token("mid") for section in sections}
    free = (name for name in map(str, itertools.count()) if name not in taken)
    mids: list[str] = []
    for section in sections:
        mid = section.token("mid")
        mids.append(next(free) if mid is None or mid in mids else mid)
    return mids


def _session_lines(session: _Section, sections: Sequence[_Section], mids: Sequence[str]) -> list[str]:
    lines = ["v=0", "o=- 0 0 IN IP4 0.0.0.0", "s=-", "c=IN IP4 0.0.0.0", "t=0 0"]
    if any("ice-lite" in part.lines for part in (session, *sections)):
        lines.append("a=ice-lite")
    if any(value.split()[:1] == ["BUNDLE"] for value in session.values("group")):
        lines.append(f"a=group:BUNDLE {' '.join(mids)}")
    lines += [f"a=msid-semantic:{value}" for value in session.values("msid-semantic") if value]
    return lines + _others(session)


def _others(section: _Section) -> list[str]:
    """Attributes that are taken over as they are: those the library does not read, and those that look right."""
    lines = []
    for line in section.lines:
        name, _, value = line.partition(":")
        form = _CHECKED.get(name)
        if form is not None:
            value = " ".join(value.split())
            if form.fullmatch(value):
                lines.append(f"a={name}:{value}")
        elif name not in _REWRITTEN:
            lines.append(f"a={line}")
    return lines


def _accepted_lines(section: _Section, formats: dict[int, _Format], direction: Direction) -> list[str]:
    if section.kind not in _RTP_KINDS:
        return [_data_line(section), *_others(section)]
    extensions = [found.groups() for found in section.matching("extmap", _EXTMAP)]
    return [
        f"m={section.kind} {section.port} {_profile(section)} {' '.join(map(str, formats))}",
        f"a={direction}",
        "a=rtcp-mux",
        *_others(section),
        *(f"a=extmap:{number} {name}" for number, name in extensions if 0 < int(number) < 256),
        *_format_lines(formats),
        *_feedback_lines(section, formats),
        *_ssrc_lines(section),
    ]


def _rejected_lines(section: _Section, own: _Section | None) -> list[str]:
    """The library wants something that it could receive even where nothing will come."""
    if section.kind not in _RTP_KINDS:
        return [_data_line(section), *_others(section)]
    formats = _formats(own, None) if own is not None else {}
    if not formats:
        payload_type, encoding = _PLACEHOLDERS[section.kind]
        formats = {payload_type: _Format(encoding)}
    first = f"m={section.kind} 0 {_profile(section)} {' '.join(map(str, formats))}"
    return [first, "a=inactive", "a=rtcp-mux", *_format_lines(formats)]


def _profile(section: _Section) -> str:
    return section.profile if re.fullmatch(r"[A-Z/]+", section.profile) else "UDP/TLS/RTP/SAVPF"


def _data_line(section: _Section) -> str:
    """The m-line of a data channel: the old form where it is that, else RFC 8841's."""
    if section.profile == "DTLS/SCTP" and section.formats and _WHOLE.fullmatch(section.formats[0]):
        return f"m={section.kind} {section.port} DTLS/SCTP {section.formats[0]}"
    return f"m={section.kind} {section.port} UDP/DTLS/SCTP webrtc-datachannel"


def _direction_of(section: _Section, session: _Section) -> Direction:
    """The direction of a section, else of the whole, else both ways (RFC 8866, 6.7)."""
    for part in (section, session):
        for line in reversed(part.lines):
            if line in _DIRECTIONS:
                return _DIRECTIONS[line]
    return "sendrecv"


def _towards_us(direction: Direction) -> Direction:
    """What an answer to an offer that only receives can mean (RFC 3264, 6.1)."""
    return "sendonly" if direction in ("sendrecv", "sendonly") else "inactive"


def _formats(section: _Section, own: _Section | None) -> dict[int, _Format]:
    """The payload types of a section in its order; those that are not listed, or not explained, are left out.

    :param own: the section of our offer that this one answers: a codec of it must be among them.
    """
    if section.kind not in _RTP_KINDS:
        return {}
    encodings: dict[int, str] = {}
    for found in section.matching("rtpmap", _RTPMAP):
        payload_type, name, clock_hz, channels = found.groups()
        encodings.setdefault(int(payload_type), f"{name}/{int(clock_hz)}" + (f"/{int(channels)}" if channels else ""))
    listed = [int(word) for word in section.formats if _PAYLOAD_TYPE.fullmatch(word)]
    if section.kind == "audio":
        encodings = {number: name for number, name in _STATIC_TYPES.items() if number in listed} | encodings
    formats = {
        number: _Format(encodings[number], _parameters(section, number))
        for number in listed or encodings
        if number in encodings and number < 256 and number not in _FORBIDDEN_TYPES
    }
    return (
        _as_offered(section.kind, formats, _formats(own, None)) if own and formats and section.is_accepted else formats
    )


def _parameters(section: _Section, payload_type: int) -> dict[str, str | None]:
    parameters: dict[str, str | None] = {}
    for found in section.matching("fmtp", _FMTP):
        if int(found.group(1)) != payload_type:
            continue
        for word in found.group(2).split(";"):
            name, equals, value = (part.strip() for part in word.partition("="))
            if name and _is_readable(name, value):
                parameters[name] = value if equals else None
    return parameters


def _is_readable(name: str, value: str) -> bool:
    """Whether the library can read a parameter: some are numbers for it, whatever they are for the server."""
    if name in _WHOLE_NUMBERS:
        return _WHOLE.fullmatch(value) is not None
    if name == "packetization-mode":
        return value in ("0", "1", "2")
    if name == "profile-level-id":
        return re.fullmatch(r"[0-9A-Fa-f]{6}", value) is not None
    return True


def _as_offered(kind: str, formats: dict[int, _Format], offered: dict[int, _Format]) -> dict[int, _Format]:
    """The formats of an answer, with the H264 profiles named as the offer names them.

    The library compares profiles and drops what it did not offer to the letter; the decoder takes every profile.
    """
    common = {form.codec for form in offered.values()} - {f"{name}/90000" for name in _NO_MEDIA}
    if common and not any(form.codec in common for form in formats.values()):
        names = sorted({form.name for form in formats.values() if form.name.lower() not in _NO_MEDIA})
        ours = sorted({form.name for form in offered.values() if form.name.lower() not in _NO_MEDIA})
        given = ", ".join(names[:5]) or "none"
        raise _UnusableError(
            f"it chooses {given} for {kind}, which was not offered ({', '.join(ours)} can be received)"
        )
    ours_h264 = {number: form for number, form in offered.items() if form.codec == "h264/90000"}
    if not ours_h264:
        return formats
    return {
        number: _with_profile(form, _closest(number, form, ours_h264)) if form.codec == "h264/90000" else form
        for number, form in formats.items()
    }


def _closest(number: int, form: _Format, offered: dict[int, _Format]) -> _Format:
    """The offered H264 format that another one is most likely the answer to."""

    def likeness(entry: tuple[int, _Format]) -> tuple[bool, bool, bool, bool]:
        other_number, other = entry
        profile, wanted = ((one.parameters.get("profile-level-id") or "42e01f").lower() for one in (form, other))
        modes = {one.parameters.get("packetization-mode") or "0" for one in (form, other)}
        return (
            profile[:4] == wanted[:4] and len(modes) == 1,
            other_number == number,
            profile[:2] == wanted[:2],
            len(modes) == 1,
        )

    return max(offered.items(), key=likeness)[1]


def _with_profile(form: _Format, own: _Format) -> _Format:
    names = ("profile-level-id", "packetization-mode")
    kept = {name: value for name, value in form.parameters.items() if name not in names}
    return _Format(form.encoding, kept | {name: own.parameters[name] for name in names if name in own.parameters})


def _format_lines(formats: dict[int, _Format]) -> list[str]:
    lines = []
    for number, form in formats.items():
        lines.append(f"a=rtpmap:{number} {form.encoding}")
        words = [name if value is None else f"{name}={value}" for name, value in form.parameters.items()]
        if words:
            lines.append(f"a=fmtp:{number} {';'.join(words)}")
    return lines


def _feedback_lines(section: _Section, formats: dict[int, _Format]) -> list[str]:
    lines = []
    for found in section.matching("rtcp-fb", _FEEDBACK):
        number, kind, parameter = found.groups()
        if number == "*" or int(number) in formats:
            lines.append(f"a=rtcp-fb:{number} {kind}" + (f" {parameter.strip()}" if parameter else ""))
    return lines


def _ssrc_lines(section: _Section) -> list[str]:
    """The stream and its retransmissions come first, and alone: the library takes a second SSRC for those.

    It sees no retransmissions at all where there are more than two.
    """
    described = [(int(found.group(1)), found) for found in section.matching("ssrc", _SSRC)]
    described = [(number, found) for number, found in described if number < 1 << 32]
    groups = [
        (found.group(1), [int(word) for word in found.group(2).split()])
        for found in section.matching("ssrc-group", _SSRC_GROUP)
    ]
    known = {number for number, _ in described}
    for semantics, members in groups:
        if semantics == "FID" and len(members) == 2 and known.issuperset(members):
            described = [entry for member in members for entry in described if entry[0] == member]
            groups = [(semantics, members)]
            break
    return [
        *(f"a=ssrc-group:{semantics} {' '.join(map(str, members))}" for semantics, members in groups),
        *(f"a=ssrc:{number} {found.group(2)}:{found.group(3).strip()}" for number, found in described),
    ]


def _setup_of(section: _Section, session: _Section) -> str | None:
    given = section.token("setup") or session.token("setup")
    return given.lower() if given else None


def _transport(session: _Section, accepted: Sequence[_Section], *, is_answer: bool) -> _Transport:
    if not accepted:
        raise _UnusableError("it rejects both picture and sound, or names no codec for them")
    parts = [
        (section.token("ice-ufrag") or session.token("ice-ufrag"), section.token("ice-pwd") or session.token("ice-pwd"))
        for section in accepted
    ]
    index = next((index for index, (ufrag, password) in enumerate(parts) if ufrag and password), None)
    if index is None:
        raise _UnusableError("it has no ICE credentials (a=ice-ufrag, a=ice-pwd)")
    ufrag, password = parts[index]
    assert ufrag is not None
    assert password is not None
    first = accepted[index]
    sources = (first, session, *accepted)
    fingerprints = next((found for part in sources if (found := part.matching("fingerprint", _FINGERPRINT))), None)
    if fingerprints is None:
        raise _UnusableError("it has no DTLS fingerprint (a=fingerprint)")
    same = [session, *(section for section in accepted if section.token("ice-ufrag") in (None, ufrag))]
    return _Transport(
        ufrag=ufrag,
        password=password,
        fingerprints=tuple(f"{found.group(1).lower()} {found.group(2).upper()}" for found in fingerprints),
        setup=_role(_setup_of(first, session), is_answer=is_answer),
        candidates=_candidates(value for part in same for value in part.values("candidate")),
        complete=any("end-of-candidates" in part.lines for part in same),
    )


def _role(setup: str | None, *, is_answer: bool) -> str:
    """Who begins the DTLS handshake; an answer that does not decide leaves it to the server, a missing one to us."""
    if not is_answer:
        return setup if setup in ("active", "passive", "actpass") else "actpass"
    if setup == "actpass":
        return "active"
    return setup if setup in ("active", "passive") else "passive"  # RFC 4145, 4: what a missing one means


def _candidates(values: Iterable[str]) -> tuple[str, ...]:
    """The candidates that the ICE library can use, each address once."""
    found: dict[tuple[str, str], str] = {}
    for value in values:
        words = value.split()
        if _is_usable(words):
            kept = [words[0], "1", "udp", words[3], words[4], words[5], "typ", words[7]]
            if (
                words[8:9] == ["raddr"]
                and words[10:11] == ["rport"]
                and len(words) > 11
                and _WHOLE.fullmatch(words[11])
            ):
                kept += words[8:12]
            found.setdefault((words[4], words[5]), " ".join(kept))
    return tuple(found.values())


def _is_usable(words: Sequence[str]) -> bool:
    """Host, srflx or relay at an IP address over UDP, for RTP (RFC 8839, 5.1)."""
    if len(words) < 8 or words[1] != "1" or words[2].lower() != "udp" or words[6] != "typ":
        return False
    if words[7] not in ("host", "srflx", "relay") or not re.fullmatch(r"[0-9]{1,10}", words[3]):
        return False
    if not re.fullmatch(r"[0-9]{1,5}", words[5]) or not 0 < int(words[5]) < 1 << 16:
        return False
    try:
        address = ipaddress.ip_address(words[4])
    except ValueError:
        return False  # a name: aiortc looks up none but .local ones, and these for whole seconds
    return not (address.is_unspecified or address.is_multicast or "%" in words[4])
