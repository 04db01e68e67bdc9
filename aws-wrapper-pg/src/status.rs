//! What the protocol tells in passing: the transaction state, how a commit was answered, why a transaction failed, and why
//! the server ends a connection.
//!
//! [`Observed`] sits between the driver and its stream, above TLS, and lets a [`Scanner`] look at the bytes that pass.
//! The scanner follows message boundaries and keeps nothing but the header it is in and the first part of an error.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use aws_wrapper_core::registry::{EndReason, Ending, Slot, TransactionFailure};
use aws_wrapper_core::session::transaction::TransactionState;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use crate::classify::{Stage, class_of_code, ends_session};
use crate::driver_call::DriverCall;
use crate::owner::Owner;

pin_project! {
    /// A stream whose incoming bytes a scanner sees.
    pub(crate) struct Observed<S> {
        #[pin]
        io: S,
        scanner: Scanner,
    }
}

impl<S> Observed<S> {
    pub(crate) fn new(io: S, scanner: Scanner) -> Self {
        Self { io, scanner }
    }
}

impl<S: AsyncRead> AsyncRead for Observed<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        this.scanner.read_on();
        // The answer to the request for TLS is one byte outside the message format. It is the first thing to be read,
        // with a buffer of one byte; the buffer for the first message is larger. Later ones may have one byte left.
        let is_answer_about_tls = !this.scanner.has_begun && buf.remaining() == 1;
        let start = buf.filled().len();
        loop {
            ready!(this.io.as_mut().poll_read(cx, buf))?;
            if is_answer_about_tls {
                return Poll::Ready(Ok(()));
            }
            this.scanner.scan(&buf.filled()[start..]);
            if this.scanner.cleartext == Cleartext::Refused {
                buf.set_filled(start);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::PermissionDenied, CleartextRefused)));
            }
            if this.scanner.strays.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let left = this.scanner.take_strays_out(&mut buf.filled_mut()[start..]);
            buf.set_filled(start + left);
            // Nothing at all would mean the end.
            if left > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite> AsyncWrite for Observed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.project();
        this.scanner.sent();
        this.io.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        this.scanner.sent();
        this.io.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

impl<S: TlsStream + Unpin> TlsStream for Observed<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.io.channel_binding()
    }
}

/// Keeps the scanner on the outside when the stream below it becomes an encrypted one.
pub(crate) struct ObservingTls<T>(pub(crate) T);

impl<S, T> TlsConnect<Observed<S>> for ObservingTls<T>
where
    T: TlsConnect<S>,
    T::Future: Send + 'static,
    T::Stream: Unpin,
{
    type Stream = Observed<T::Stream>;
    type Error = T::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, T::Error>> + Send>>;

    fn connect(self, stream: Observed<S>) -> Self::Future {
        let Observed { io, mut scanner } = stream;
        // Whatever the server asks for from here on travels encrypted.
        scanner.cleartext = Cleartext::Allowed;
        let handshake = self.0.connect(io);
        Box::pin(async move { Ok(Observed { io: handshake.await?, scanner }) })
    }
}

/// The server asked for the password in the clear over a connection that is not encrypted.
#[derive(Debug)]
pub(crate) struct CleartextRefused;

impl fmt::Display for CleartextRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the server asked for the password in the clear over an unencrypted connection; \
             use TLS, or set `sslmode` to `disable` or `prefer` to allow it",
        )
    }
}

impl StdError for CleartextRefused {}

/// Follows the messages of the server and leaves word in the slot.
///
/// Of two messages in a row that say the server is ready the second one is a stray: all that the wrapper sends is answered
/// by something else first. It comes after a `COPY … FROM STDIN` that was refused: for that the driver synchronizes twice
/// and waits once, so that each later call would get the answer to the one before. It is kept from the driver. Where the
/// application has the driver's own client, all is as the server sends it: that client asks questions with no other answer.
#[derive(Debug)]
pub(crate) struct Scanner {
    slot: Arc<Slot>,
    owner: Arc<Owner>,
    driver_call: DriverCall,
    /// Whether a byte of a message has been seen.
    has_begun: bool,
    header: [u8; HEADER],
    /// How much of the header has been seen.
    seen: usize,
    /// Bytes of the body still to come.
    skip: usize,
    body: Body,
    /// Whether the server has said that it is ready, and no answer to anything since.
    is_between: bool,
    /// Bytes still to come of a message that is not for the driver.
    stray: usize,
    /// What of the bytes scanned last is not for the driver.
    strays: Vec<Range<usize>>,
    /// The first part of the body of an error; empty until there is one.
    kept: Vec<u8>,
    cleartext: Cleartext,
}

/// What becomes of a request for the password in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cleartext {
    Allowed,
    /// It ends the connection.
    Forbidden,
    /// It came, though it was forbidden.
    Refused,
}

/// What the body of the current message is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Skipped,
    Status,
    Error,
    Authentication,
    /// A command is complete, and this may be its tag.
    Tag(&'static Tag),
}

/// How the server says that a transaction is over.
#[derive(Debug, PartialEq, Eq)]
struct Tag {
    text: &'static [u8],
    answer: Ending,
}

impl Tag {
    /// The one that a body of this length may be: no two have the same.
    fn of_length(length: usize) -> Option<&'static Self> {
        const COMMIT: &Tag = &Tag { text: b"COMMIT\0", answer: Ending::Commit };
        /// Also the answer to a commit that the server refuses.
        const ROLLBACK: &Tag = &Tag { text: b"ROLLBACK\0", answer: Ending::Rollback };
        const PREPARE: &Tag = &Tag { text: b"PREPARE TRANSACTION\0", answer: Ending::Commit };
        match length {
            7 => Some(COMMIT),
            9 => Some(ROLLBACK),
            20 => Some(PREPARE),
            _ => None,
        }
    }
}

/// How long the message is by which the server says that it is ready.
const READY: usize = 6;
/// A tag and four bytes of length.
const HEADER: usize = 5;
/// Severity, code and message come first in an error; what is beyond this is left out.
const KEPT: usize = 512;
/// `AuthenticationCleartextPassword`.
const CLEARTEXT_PASSWORD: [u8; 4] = [0, 0, 0, 3];

impl Scanner {
    /// A scanner at the start of a connection. With `refuse_cleartext` it ends the connection instead of letting the
    /// password out in the clear.
    pub(crate) fn new(slot: Arc<Slot>, owner: Arc<Owner>, refuse_cleartext: bool) -> Self {
        Self {
            slot,
            owner,
            driver_call: DriverCall::default(),
            has_begun: false,
            header: [0; HEADER],
            seen: 0,
            skip: 0,
            body: Body::Skipped,
            is_between: false,
            stray: 0,
            strays: Vec::new(),
            kept: Vec::new(),
            cleartext: if refuse_cleartext { Cleartext::Forbidden } else { Cleartext::Allowed },
        }
    }

    /// The driver is about to send something.
    #[inline]
    fn sent(&mut self) {
        if self.owner.is_driver() {
            self.driver_call.sent(&self.slot);
        }
    }

    /// The driver is about to read what comes next.
    #[inline]
    fn read_on(&mut self) {
        if self.owner.is_driver() {
            self.driver_call.delivered();
        }
    }

    fn scan(&mut self, mut bytes: &[u8]) {
        self.has_begun |= !bytes.is_empty();
        let length = bytes.len();
        while !bytes.is_empty() {
            if self.stray > 0 {
                let (start, here) = (length - bytes.len(), self.stray.min(bytes.len()));
                self.strays.push(start..start + here);
                self.stray -= here;
                bytes = &bytes[here..];
                continue;
            }
            if self.skip > 0 {
                let here = self.skip.min(bytes.len());
                self.take_body(&bytes[..here]);
                self.skip -= here;
                bytes = &bytes[here..];
                if self.skip == 0 {
                    self.end_of_message();
                }
                continue;
            }
            if self.is_between && self.seen == 0 && bytes[0] == b'Z' && !self.owner.is_driver() {
                self.stray = READY;
                continue;
            }
            if !self.take_header(&mut bytes) {
                return;
            }
            let length = u32::from_be_bytes([self.header[1], self.header[2], self.header[3], self.header[4]]);
            // The length counts itself. A shorter one is a protocol error, which the driver will report.
            self.skip = (length as usize).saturating_sub(4);
            let was_between = std::mem::take(&mut self.is_between);
            self.body = match self.header[0] {
                b'Z' => {
                    self.is_between = true;
                    Body::Status
                }
                // These answer nothing.
                b'N' | b'A' | b'S' => {
                    self.is_between = was_between;
                    Body::Skipped
                }
                b'C' => Tag::of_length(self.skip).map_or(Body::Skipped, Body::Tag),
                b'E' => {
                    self.slot.set_unknown();
                    self.kept.clear();
                    Body::Error
                }
                b'R' if self.cleartext == Cleartext::Forbidden => {
                    self.kept.clear();
                    Body::Authentication
                }
                _ => Body::Skipped,
            };
        }
    }

    /// Moves what is for the driver together; how much that is.
    #[cold]
    fn take_strays_out(&mut self, bytes: &mut [u8]) -> usize {
        let mut left = bytes.len();
        for stray in self.strays.drain(..).rev() {
            bytes.copy_within(stray.end..left, stray.start);
            left -= stray.len();
        }
        left
    }

    /// Whether the header is complete.
    fn take_header(&mut self, bytes: &mut &[u8]) -> bool {
        if self.seen == 0 && bytes.len() >= HEADER {
            self.header.copy_from_slice(&bytes[..HEADER]);
            *bytes = &bytes[HEADER..];
            return true;
        }
        let here = (HEADER - self.seen).min(bytes.len());
        self.header[self.seen..self.seen + here].copy_from_slice(&bytes[..here]);
        *bytes = &bytes[here..];
        self.seen += here;
        if self.seen < HEADER {
            return false;
        }
        self.seen = 0;
        true
    }

    fn take_body(&mut self, bytes: &[u8]) {
        match self.body {
            Body::Skipped => {}
            Body::Status => {
                self.body = Body::Skipped;
                self.slot.set_ready(match bytes[0] {
                    b'I' => TransactionState::Idle,
                    b'T' => TransactionState::InTransaction,
                    b'E' => TransactionState::Failed,
                    _ => TransactionState::Unknown,
                });
                self.driver_call.answered();
            }
            Body::Tag(tag) => {
                // The rest of the body has the length of the rest of the text.
                let rest = &tag.text[tag.text.len() - self.skip..];
                if !rest.starts_with(bytes) {
                    self.body = Body::Skipped;
                }
            }
            Body::Error | Body::Authentication => {
                let room = KEPT.saturating_sub(self.kept.len()).min(bytes.len());
                self.kept.extend_from_slice(&bytes[..room]);
            }
        }
    }

    fn end_of_message(&mut self) {
        match std::mem::replace(&mut self.body, Body::Skipped) {
            Body::Tag(tag) => self.slot.set_answered_ending(tag.answer),
            Body::Error => self.end_of_error(),
            Body::Authentication if self.kept == CLEARTEXT_PASSWORD => self.cleartext = Cleartext::Refused,
            Body::Skipped | Body::Status | Body::Authentication => {}
        }
    }

    fn end_of_error(&self) {
        let error = ErrorFields::parse(&self.kept);
        let known = self.slot.last_known_transaction();
        let code = String::from_utf8_lossy(error.code).into_owned();
        let message = String::from_utf8_lossy(error.message);
        if ends_session(error.severity, error.translated) {
            // Before it is ready for the first time it is a connection that is being opened.
            let stage = if known == TransactionState::Unknown { Stage::Connecting } else { Stage::Ending };
            let class = class_of_code(&code, &message, stage);
            self.slot.record_end(EndReason::new(class, Some(code), message));
        } else if known != TransactionState::Failed {
            // Also where none was open: the same text may have begun it. In one that has failed already the first error
            // is the cause.
            self.slot.set_failure(TransactionFailure::new(code, None, message));
        }
    }
}

/// The fields of an error that say what it means: each a letter, text, and a zero byte.
#[derive(Debug, Default)]
struct ErrorFields<'a> {
    /// Not translated; old servers and some poolers leave it out.
    severity: Option<&'a [u8]>,
    /// In the language of the server.
    translated: &'a [u8],
    code: &'a [u8],
    message: &'a [u8],
}

impl<'a> ErrorFields<'a> {
    fn parse(body: &'a [u8]) -> Self {
        let mut fields = Self::default();
        for field in body.split(|byte| *byte == 0) {
            match field.split_first() {
                Some((b'S', text)) => fields.translated = text,
                Some((b'V', text)) => fields.severity = Some(text),
                Some((b'C', text)) => fields.code = text,
                Some((b'M', text)) => fields.message = text,
                Some(_) => {}
                None => break,
            }
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use aws_wrapper_core::error::DriverClass;
    use aws_wrapper_core::host::HostKey;
    use aws_wrapper_core::registry::{Purpose, Registry};
    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn slot() -> Arc<Slot> {
        Arc::new(Registry::default()).open(HostKey::new("h", 5432).unwrap(), Purpose::Initial)
    }

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[tag], &length.to_be_bytes()[..], body].concat()
    }

    fn error(severity: &str, code: &str) -> Vec<u8> {
        let body = format!("S{severity}\0V{severity}\0C{code}\0Mterminating connection\0Fpostgres.c\0\0");
        message(b'E', body.as_bytes())
    }

    /// A row that imitates a `ReadyForQuery`, and what surrounds it.
    fn answer(status: u8) -> Vec<u8> {
        let imitation = message(b'Z', b"E");
        [
            message(b'T', b"\0\0"),
            message(b'D', &imitation),
            message(b'n', b""),
            message(b'C', b"SELECT 1\0"),
            message(b'Z', &[status]),
        ]
        .concat()
    }

    #[test]
    fn every_split_into_three_reads_gives_the_same_answer() {
        let whole = [answer(b'T'), error("ERROR", "42P01"), answer(b'E'), answer(b'I')].concat();
        for first in 0..whole.len() {
            for second in first..whole.len() {
                let slot = slot();
                let mut scanner = Scanner::new(Arc::clone(&slot), Arc::default(), true);
                scanner.scan(&whole[..first]);
                scanner.scan(&whole[first..second]);
                scanner.scan(&whole[second..]);
                assert_eq!(slot.transaction(), TransactionState::Idle, "split at {first}, {second}");
                assert!(slot.end_reason().is_none());
            }
        }
    }

    #[tokio::test]
    async fn only_the_first_byte_can_be_the_answer_about_tls() {
        let slot = slot();
        let stream = [b"S".to_vec(), answer(b'T'), answer(b'I')].concat();
        let mut observed = Observed::new(&stream[..], Scanner::new(Arc::clone(&slot), Arc::default(), false));
        observed.read_exact(&mut [0; 1]).await.unwrap();
        observed.read_exact(&mut [0; 8]).await.unwrap();
        // The driver reads into what is left of its buffer, which may be one byte.
        for _ in 8..stream.len() - 1 {
            observed.read_exact(&mut [0; 1]).await.unwrap();
        }
        assert_eq!(slot.transaction(), TransactionState::Idle);
    }

    #[test]
    fn the_state_is_unknown_between_an_error_and_the_next_ready() {
        let slot = slot();
        let mut scanner = Scanner::new(Arc::clone(&slot), Arc::default(), false);
        scanner.scan(&answer(b'T'));
        assert_eq!(slot.transaction(), TransactionState::InTransaction);
        scanner.scan(&error("ERROR", "42P01"));
        assert_eq!(slot.transaction(), TransactionState::Unknown);
        assert_eq!(slot.last_known_transaction(), TransactionState::InTransaction);
        scanner.scan(&message(b'Z', b"E"));
        assert_eq!(slot.transaction(), TransactionState::Failed);
    }

    #[test]
    fn a_fatal_error_is_kept_as_the_reason_of_the_end_at_every_split() {
        let whole = [answer(b'I'), error("FATAL", "57P01")].concat();
        for first in 0..whole.len() {
            let slot = slot();
            let mut scanner = Scanner::new(Arc::clone(&slot), Arc::default(), false);
            scanner.scan(&whole[..first]);
            scanner.scan(&whole[first..]);
            let reason = slot.end_reason().unwrap();
            assert_eq!(reason.sqlstate.as_deref(), Some("57P01"));
            assert_eq!(reason.message, "terminating connection");
            assert_eq!(reason.class, DriverClass::Network);
        }
    }

    #[test]
    fn a_refusal_to_connect_says_nothing_of_the_network() {
        for (code, class) in [("28P01", DriverClass::Login), ("53300", DriverClass::Other)] {
            let slot = slot();
            Scanner::new(Arc::clone(&slot), Arc::default(), false).scan(&error("FATAL", code));
            assert_eq!(slot.end_reason().unwrap().class, class, "{code}");
        }
    }

    #[test]
    fn a_severity_without_its_stable_form_counts() {
        let slot = slot();
        let mut scanner = Scanner::new(Arc::clone(&slot), Arc::default(), false);
        scanner.scan(&answer(b'I'));
        scanner.scan(&message(b'E', b"SERROR\0C58030\0Mno\0\0"));
        assert!(slot.end_reason().is_none());
        scanner.scan(&message(b'E', b"SFATAL\0C08P01\0Mquery_wait_timeout\0\0"));
        assert_eq!(slot.end_reason().unwrap().class, DriverClass::Network);
    }

    #[test]
    fn the_answer_to_a_commit_is_read_at_every_split() {
        for (tag, answer) in [
            ("COMMIT", Some(Ending::Commit)),
            ("PREPARE TRANSACTION", Some(Ending::Commit)),
            ("ROLLBACK", Some(Ending::Rollback)),
            // As long as those.
            ("SELECT 1", None),
            ("UPDATE", None),
            ("COMMIT PREPARED", None),
            ("ROLLBACK PREPARED", None),
            ("CREATE TABLE AS SEL", None),
            ("COMMIT!", None),
            ("", None),
        ] {
            let tag = message(b'C', format!("{tag}\0").as_bytes());
            let whole = [tag.clone(), message(b'Z', b"I")].concat();
            for first in 0..whole.len() {
                for second in first..whole.len() {
                    let slot = slot();
                    let mut scanner = Scanner::new(Arc::clone(&slot), Arc::default(), false);
                    scanner.scan(&whole[..first]);
                    scanner.scan(&whole[first..second]);
                    scanner.scan(&whole[second..]);
                    assert_eq!(slot.answered_ending(), answer, "{tag:?} split at {first}, {second}");
                    assert_eq!(slot.transaction(), TransactionState::Idle);
                }
            }
        }
        // A row that imitates one.
        let slot = slot();
        Scanner::new(Arc::clone(&slot), Arc::default(), false)
            .scan(&message(b'D', &message(b'C', b"ROLLBACK\0")));
        assert_eq!(slot.answered_ending(), None);
    }

    #[tokio::test]
    async fn a_second_word_that_the_server_is_ready_is_kept_from_the_driver_at_every_split() {
        let refused = [error("ERROR", "42501"), message(b'Z', b"I")].concat();
        let (stray, notice) = (message(b'Z', b"I"), message(b'N', b"\0"));
        let next = answer(b'T');
        let sent = [&refused[..], &notice, &stray, &notice, &next, &stray].concat();
        let expected = [&refused[..], &notice, &notice, &next].concat();
        for first in 0..sent.len() {
            for second in first..sent.len() {
                let slot = slot();
                let parts = (&sent[..first]).chain(&sent[first..second]).chain(&sent[second..]);
                let mut observed =
                    Observed::new(parts, Scanner::new(Arc::clone(&slot), Arc::default(), false));
                let mut received = Vec::new();
                observed.read_to_end(&mut received).await.unwrap();
                assert_eq!(received, expected, "split at {first}, {second}");
                assert_eq!(slot.transaction(), TransactionState::InTransaction);
            }
        }
    }

    #[tokio::test]
    async fn a_call_of_the_drivers_own_client_is_marked_until_its_answer_is_handed_on() {
        let (slot, owner) = (slot(), Arc::new(Owner::default()));
        slot.mark_calls();
        owner.set_driver();
        let (ours, mut server) = duplex(1024);
        let mut observed = Observed::new(ours, Scanner::new(Arc::clone(&slot), owner, false));
        // The last one is the answer to a bare synchronization, which only that client asks for.
        for answer in [answer(b'I'), answer(b'I'), message(b'Z', b"I")] {
            assert!(!slot.is_busy());
            observed.write_all(&message(b'S', b"")).await.unwrap();
            assert!(slot.is_busy());
            server.write_all(&answer).await.unwrap();
            observed.read_exact(&mut vec![0; answer.len()]).await.unwrap();
            assert!(slot.is_busy(), "the driver has it, and its caller does not");
            assert!(observed.read_u8().now_or_never().is_none());
        }
        assert!(!slot.is_busy());
    }

    #[test]
    fn the_first_error_of_a_transaction_is_its_cause() {
        let slot = slot();
        let mut scanner = Scanner::new(Arc::clone(&slot), Arc::default(), false);
        scanner.scan(&answer(b'T'));
        for code in ["22012", "25P02"] {
            scanner.scan(&error("ERROR", code));
            scanner.scan(&message(b'Z', b"E"));
        }
        let cause = TransactionFailure::new("22012", None, "terminating connection");
        assert_eq!(slot.take_failure(), Some(cause));
    }

    #[test]
    fn a_very_long_error_is_cut_and_does_not_disturb_what_follows() {
        let long = "x".repeat(100_000);
        let body = format!("SFATAL\0VFATAL\0C57P05\0M{long}\0\0");
        let slot = slot();
        let mut scanner = Scanner::new(Arc::clone(&slot), Arc::default(), false);
        for chunk in [answer(b'T'), message(b'E', body.as_bytes()), answer(b'I')].concat().chunks(777) {
            scanner.scan(chunk);
        }
        let reason = slot.end_reason().unwrap();
        assert_eq!(reason.class, DriverClass::SessionTerminated);
        assert!(reason.message.len() < KEPT && reason.message.starts_with("xxx"));
        assert_eq!(slot.transaction(), TransactionState::Idle);
    }

    #[test]
    fn a_request_for_the_password_in_the_clear_is_refused_only_when_told_so() {
        let asks = message(b'R', &CLEARTEXT_PASSWORD);
        for refuse in [false, true] {
            let mut scanner = Scanner::new(slot(), Arc::default(), refuse);
            scanner.scan(&asks);
            assert_eq!(scanner.cleartext == Cleartext::Refused, refuse);
        }
        let mut scanner = Scanner::new(slot(), Arc::default(), true);
        scanner.scan(&message(b'R', &[0, 0, 0, 10, b'S', 0]));
        assert_ne!(scanner.cleartext, Cleartext::Refused, "a challenge for a hash is fine");
    }
}
