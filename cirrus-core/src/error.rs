//! What can go wrong with a request, and the one mapping from there to a status.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode, header};

/// Any error that a backend or a body may give.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a request could not be answered as asked.
///
/// Opaque: it answers questions and becomes a response in one place (`middleware::rescue`).
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    source: Option<BoxError>,
    retry_after: Option<Duration>,
    fields: Vec<(HeaderName, HeaderValue)>,
    /// Instead of the kind's own.
    word: Option<&'static str>,
}

/// A variant exists only where somebody acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The request breaks the rules of HTTP, or is ambiguous.
    BadRequest,
    /// No site serves this host.
    NoSite,
    /// The connection's certificate does not cover this host (RFC 9110 §15.5.20).
    Misdirected,
    /// The client has not said who it is, or not in a way that is believed.
    Unauthorized,
    /// The client may not have this, whoever it is.
    Forbidden,
    /// No route of the site matches.
    NoRoute,
    /// The method is not allowed here.
    MethodNotAllowed,
    /// The request has come through this very proxy before.
    Loop,
    /// The client asks too often.
    TooMany,
    /// The request's body is larger than the route takes.
    TooLarge,
    /// The request's header is larger than what is taken, or has too many fields.
    HeaderTooLarge,
    /// What is asked for is not known here.
    NotImplemented,
    /// A limit is reached; later may do.
    Overload,
    /// The cluster has no endpoint that may be asked.
    NoEndpoint,
    /// No connection to the origin: no byte of the request was sent.
    Connect,
    /// No connection to the origin in time: no byte of the request was sent.
    ConnectTimeout,
    /// The exchange with the origin broke.
    Exchange,
    /// The origin took too long.
    Deadline,
    /// The client went away or broke its own request's body.
    Client,
    /// The client stopped sending in the middle of its request.
    Stalled,
    /// A fault of our own.
    Internal,
}

/// Whose doing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Downstream,
    /// The origin's.
    Upstream,
    /// Ours, or the operator's.
    Here,
}

// === impl Error ===

impl Error {
    /// An error without a cause.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self(Box::new(Inner {
            kind,
            source: None,
            retry_after: None,
            fields: Vec::new(),
            word: None,
        }))
    }

    /// An error with what caused it; logged, never shown to clients.
    #[must_use]
    pub fn because(kind: Kind, source: impl Into<BoxError>) -> Self {
        Self(Box::new(Inner {
            kind,
            source: Some(source.into()),
            retry_after: None,
            fields: Vec::new(),
            word: None,
        }))
    }

    /// The method is not among `allowed`, the value of `Allow` (RFC 9110 §10.2.1).
    #[must_use]
    pub fn not_allowed(allowed: HeaderValue) -> Self {
        Self::new(Kind::MethodNotAllowed).with_field(header::ALLOW, allowed)
    }

    /// With a header field that the response must have, such as `WWW-Authenticate`.
    #[must_use]
    pub fn with_field(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.fields.push((name, value));
        self
    }

    /// With another word for `Proxy-Status` than its kind's.
    #[must_use]
    pub(crate) fn with_word(mut self, word: &'static str) -> Self {
        self.0.word = Some(word);
        self
    }

    /// The word for `Proxy-Status`: what exactly went wrong, or its kind's.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.0.word.unwrap_or_else(|| self.0.kind.word())
    }

    /// Says when another try is worth while (`Retry-After`).
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// When another try is worth while.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The header fields that the response must have.
    pub fn fields(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.0.fields.iter()
    }

    /// No byte reached the origin: another one may try.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        matches!(self.0.kind, Kind::Connect | Kind::ConnectTimeout)
    }

    /// The client's doing; must not count against the origin.
    #[must_use]
    pub fn is_client(&self) -> bool {
        self.0.kind.side() == Side::Downstream
    }

    /// The status that tells the client.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.kind.into()
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.kind.reason())?;
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_ref()
            .map(|source| &**source as &(dyn StdError + 'static))
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Self::new(kind)
    }
}

// === impl Kind ===

impl Kind {
    /// Whose doing it is.
    #[must_use]
    pub fn side(self) -> Side {
        match self {
            Self::BadRequest
            | Self::NoSite
            | Self::Misdirected
            | Self::Unauthorized
            | Self::Forbidden
            | Self::TooMany
            | Self::TooLarge
            | Self::HeaderTooLarge
            | Self::NotImplemented
            | Self::NoRoute
            | Self::MethodNotAllowed
            | Self::Client
            | Self::Stalled => Side::Downstream,
            Self::NoEndpoint
            | Self::Connect
            | Self::ConnectTimeout
            | Self::Exchange
            | Self::Deadline => Side::Upstream,
            Self::Loop | Self::Overload | Self::Internal => Side::Here,
        }
    }

    /// A few words for clients and logs; nothing internal.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::BadRequest => "the request is malformed",
            Self::NoSite => "no site is served under this host",
            Self::Misdirected => "this connection is not for that host",
            Self::Unauthorized => "who asks must say who they are",
            Self::Forbidden => "this is not for you",
            Self::NoRoute => "nothing is served under this path",
            Self::MethodNotAllowed => "the method is not allowed here",
            Self::Loop => "the request goes round in a circle",
            Self::TooMany => "you ask too often",
            Self::TooLarge => "the request's body is too large",
            Self::HeaderTooLarge => "the request's header is too large",
            Self::NotImplemented => "this is not known here",
            Self::Overload => "too many requests at the moment",
            Self::NoEndpoint => "no origin can take the request at the moment",
            Self::Connect => "the origin cannot be reached",
            Self::ConnectTimeout => "the origin cannot be reached in time",
            Self::Exchange => "the origin's answer broke off or was malformed",
            Self::Deadline => "the origin took too long",
            Self::Client => "the client went away",
            Self::Stalled => "the request did not come to its end in time",
            Self::Internal => "something went wrong here",
        }
    }

    /// A stable word for metrics, logs and `Proxy-Status` (RFC 9209 §2.3, where it has one).
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::BadRequest => "http_request_error",
            Self::NoSite => "no_site",
            Self::Misdirected => "misdirected",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "http_request_denied",
            Self::NoRoute => "no_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Loop => "proxy_loop_detected",
            Self::TooMany => "rate_limited",
            Self::TooLarge => "body_too_large",
            Self::HeaderTooLarge => "http_request_error",
            Self::NotImplemented => "not_implemented",
            Self::Overload => "connection_limit_reached",
            Self::NoEndpoint => "destination_unavailable",
            Self::Connect => "connection_refused",
            Self::ConnectTimeout => "connection_timeout",
            Self::Exchange => "http_protocol_error",
            Self::Deadline => "http_response_timeout",
            Self::Client => "client_gone",
            Self::Stalled => "client_stalled",
            Self::Internal => "proxy_internal_error",
        }
    }
}

impl From<Kind> for StatusCode {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::BadRequest | Kind::Client => Self::BAD_REQUEST,
            Kind::Stalled => Self::REQUEST_TIMEOUT,
            Kind::Unauthorized => Self::UNAUTHORIZED,
            Kind::Forbidden => Self::FORBIDDEN,
            Kind::TooMany => Self::TOO_MANY_REQUESTS,
            Kind::TooLarge => Self::PAYLOAD_TOO_LARGE,
            Kind::HeaderTooLarge => Self::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Kind::NotImplemented => Self::NOT_IMPLEMENTED,
            Kind::NoSite | Kind::NoRoute => Self::NOT_FOUND,
            Kind::Misdirected => Self::MISDIRECTED_REQUEST,
            Kind::MethodNotAllowed => Self::METHOD_NOT_ALLOWED,
            Kind::Loop => Self::LOOP_DETECTED,
            Kind::Overload | Kind::NoEndpoint => Self::SERVICE_UNAVAILABLE,
            Kind::Connect | Kind::Exchange => Self::BAD_GATEWAY,
            Kind::ConnectTimeout | Kind::Deadline => Self::GATEWAY_TIMEOUT,
            Kind::Internal => Self::INTERNAL_SERVER_ERROR,
        }
    }
}
