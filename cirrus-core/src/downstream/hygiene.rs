//! Refuses what is ambiguous, takes away what is meant for one hop only, and writes every request in one way.

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Uri};
use http::{Method, Version};
use http_body::Body as _;

use super::{Bridged, Connection, KnownHost};
use crate::body::Request;
use crate::cache::Scheme;
use crate::error::{Error, Kind};
use crate::routing::Host;

/// Meant for one hop only, whatever `Connection` says.
static HOP_BY_HOP: [HeaderName; 7] = [
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

/// The most header fields of a request.
const MAX_FIELDS: usize = 100;

/// Makes a request fit to be routed: one valid host, one way to write its path, no hop-by-hop fields.
///
/// Afterwards its URI is path and query only, and `Host` says the host.
pub(crate) fn admit(
    mut request: Box<Request>,
    connection: &Connection,
    scheme: Scheme,
    known: Option<&KnownHost>,
) -> Result<(Box<Request>, Host), Error> {
    // A tunnel to anywhere, and an echo of what a client's own proxies added, are refused.
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Error::new(refusal(&request)));
    }
    // HTTP/1 clients hear of it from the codec.
    if request.headers().len() > MAX_FIELDS {
        return Err(Error::new(Kind::HeaderTooLarge));
    }
    let host = known_host(&request, connection, scheme, known)?;
    refuse_misdirected(&request, connection, &host)?;
    if let Some(target) = target(request.method(), request.uri())? {
        *request.uri_mut() = Uri::from(target);
    }
    let is_bridged = request.extensions().get::<Bridged>().is_some();
    if is_bridged || request.headers().keys().any(is_special) {
        pass_on(&mut request)?;
    }
    Ok((request, host))
}

/// Leaves of the fields that concern the connection only what origins are to be told.
fn pass_on(request: &mut Request) -> Result<(), Error> {
    refuse_codings(request)?;
    let (upgrade, trailers) = (wanted_upgrade(request), wants_trailers(request));
    strip(request.headers_mut());
    if trailers {
        request
            .headers_mut()
            .insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade {
        request.headers_mut().insert(header::UPGRADE, protocol);
    }
    join_cookies(request.headers_mut());
    // The body is asked for as soon as somebody reads it (RFC 9110 §10.1.1); origins get it without asking.
    request.headers_mut().remove(header::EXPECT);
    Ok(())
}

/// A field that something has to be done about. Most requests have none.
fn is_special(name: &HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::COOKIE
        || *name == header::EXPECT
        || is_hop_by_hop(name)
}

/// As [`host`], without reading again what was read for the connection's last request.
fn known_host(
    request: &Request,
    connection: &Connection,
    scheme: Scheme,
    known: Option<&KnownHost>,
) -> Result<Host, Error> {
    let (Some(known), None) = (known, request.uri().authority()) else {
        return host(request, connection, scheme);
    };
    let mut fields = request.headers().get_all(header::HOST).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return host(request, connection, scheme);
    };
    if let Some(host) = known.get(field, scheme) {
        return Ok(host);
    }
    let host = host(request, connection, scheme)?;
    known.set(field, scheme, &host);
    Ok(host)
}

/// Protocols inside HTTP/2 are asked for with CONNECT too (RFC 8441); those that are known here are another method by now.
fn refusal(request: &Request) -> Kind {
    match request.extensions().get::<h2::ext::Protocol>() {
        Some(_) => Kind::NotImplemented,
        None => Kind::MethodNotAllowed,
    }
}

/// The host the request is for (RFC 9110 §7.2, RFC 9112 §3.2): exactly one, valid, and the same wherever it stands.
fn host(request: &Request, connection: &Connection, scheme: Scheme) -> Result<Host, Error> {
    let mut fields = request.headers().get_all(header::HOST).iter();
    let (field, more) = (fields.next(), fields.next());
    if more.is_some() {
        return Err(bad("more than one Host"));
    }
    refuse_foreign_scheme(request.uri())?;
    let parse = |text: &str| Host::parse(text, scheme).ok_or_else(|| bad("the host is not valid"));
    let field = field
        .map(|value| {
            value
                .to_str()
                .map_err(|_| bad("the host is not valid"))
                .and_then(parse)
        })
        .transpose()?;
    let target = request
        .uri()
        .authority()
        .map(Authority::as_str)
        .map(parse)
        .transpose()?;
    match (field, target) {
        (Some(field), Some(target)) if field != target => Err(bad("Host and the target disagree")),
        (_, Some(host)) | (Some(host), None) => Ok(host),
        // Before HTTP/1.1 a request need not name its host: the address stands for it.
        (None, None) if request.version() < Version::HTTP_11 => {
            parse(&connection.local.to_string())
        }
        (None, None) => Err(bad("no Host")),
    }
}

/// A target of another scheme is not for this listener. HTTP/2 clients may say `http` behind a TLS terminator, so only
/// what is neither is refused.
fn refuse_foreign_scheme(uri: &Uri) -> Result<(), Error> {
    match uri.scheme_str() {
        None | Some("http" | "https") => Ok(()),
        Some(_) => Err(bad("the target's scheme is not served")),
    }
}

/// `chunked` is the one transfer coding there is; taking another one away would make the content another one.
fn refuse_codings(request: &Request) -> Result<(), Error> {
    let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| {
        coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    };
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if is_chunked(coding) => Ok(()),
        _ => Err(bad("a Transfer-Encoding that is not `chunked`")),
    }
}

/// Browsers use one HTTP/2 connection for several hosts; only those its certificate covers are served on it
/// (RFC 9113 §9.1.2), and the one that it was made for.
fn refuse_misdirected(
    request: &Request,
    connection: &Connection,
    host: &Host,
) -> Result<(), Error> {
    match &connection.certificate {
        Some(certificate)
            if (request.version() == Version::HTTP_2 || is_strict(connection))
                && !certificate.covers(host.name())
                && !is_named(connection, host) =>
        {
            Err(Error::new(Kind::Misdirected))
        }
        _ => Ok(()),
    }
}

/// HTTP/1.1 is not spared.
fn is_strict(connection: &Connection) -> bool {
    connection
        .session
        .as_ref()
        .is_some_and(|session| session.strict)
}

/// The client asked for this very host, and took the certificate that it was shown.
fn is_named(connection: &Connection, host: &Host) -> bool {
    connection
        .server_name
        .as_ref()
        .is_some_and(|name| name.as_str() == host.name())
}

/// Path and query in their one way to be written; `None` if they are written so, and alone, already.
fn target(method: &Method, uri: &Uri) -> Result<Option<PathAndQuery>, Error> {
    let Some(target) = uri.path_and_query() else {
        // `host:port` alone is a target for CONNECT only (RFC 9112 §3.2.3).
        return Err(bad("the target has no path"));
    };
    let path = match target.path() {
        // `OPTIONS *` is about the server as a whole.
        "*" if *method == Method::OPTIONS => return Ok(Some(target.clone())),
        path if !path.starts_with('/') => return Err(bad("the target has no path")),
        // No URI has one (RFC 3986), and half the world reads it as a slash: `/a\..\admin` would climb.
        path if path.contains('\\') => return Err(bad("a backslash in the path")),
        path => normal_path(path)?,
    };
    let text = match (path, target.query()) {
        // `http://host?query` has a path too, if none that is written.
        (Cow::Borrowed(path), Some(query)) if target.as_str().starts_with('?') => {
            format!("{path}?{query}")
        }
        (Cow::Borrowed(_), _) if uri.authority().is_none() => return Ok(None),
        (Cow::Borrowed(_), _) => return Ok(Some(target.clone())),
        (Cow::Owned(path), None) => path,
        (Cow::Owned(path), Some(query)) => format!("{path}?{query}"),
    };
    PathAndQuery::try_from(text)
        .map(Some)
        .map_err(|error| Error::because(Kind::BadRequest, error))
}

/// RFC 3986 §6.2.2: unreserved characters are never encoded, hexadecimal digits are upper-case, and there are no dot
/// segments; otherwise `/a/%2e%2e/admin` would pass a route for `/a/*` and reach `/admin` at the origin.
pub(crate) fn normal_path(path: &str) -> Result<Cow<'_, str>, Error> {
    // Seen byte by byte: searching for text costs more than the rest of this.
    if !path.bytes().any(|byte| byte == b'%') && !has_pair(path, b'.') {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode_unreserved(path)?;
    let resolved = if decoded.contains("/.") {
        resolve_dots(&decoded)?
    } else {
        decoded
    };
    Ok(if resolved == path {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(resolved)
    })
}

/// Whether a slash is followed by this byte.
pub(crate) fn has_pair(path: &str, second: u8) -> bool {
    let bytes = path.as_bytes();
    bytes.windows(2).any(|pair| pair == [b'/', second])
}

fn decode_unreserved(path: &str) -> Result<String, Error> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let digits = rest
            .get(at + 1..at + 3)
            .filter(|two| two.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let digits = digits.ok_or_else(|| bad("a percent sign without two hexadecimal digits"))?;
        match u8::from_str_radix(digits, 16).unwrap_or_default() {
            0 => return Err(bad("a NUL in the path")),
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                out.push(byte as char);
            }
            _ => {
                out.push('%');
                out.push_str(&digits.to_ascii_uppercase());
            }
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    Ok(out)
}

/// RFC 3986 §5.2.4. A path that climbs above its root is no honest mistake.
fn resolve_dots(path: &str) -> Result<String, Error> {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop()
                    .ok_or_else(|| bad("the path climbs above its root"))?;
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    Ok(format!("/{}", kept.join("/")))
}

/// Takes away what is meant for one hop only (RFC 9110 §7.6.1): the fields that `Connection` names, and those that are
/// so by definition.
pub(crate) fn strip(headers: &mut HeaderMap) {
    if let Some(connection) = headers.get(header::CONNECTION) {
        let is_plain = matches!(connection.as_bytes(), b"keep-alive" | b"close");
        if !is_plain || headers.get_all(header::CONNECTION).iter().nth(1).is_some() {
            for name in nominated(headers) {
                headers.remove(name);
            }
        }
        headers.remove(header::CONNECTION);
    }
    // Mostly none of them is there, which one look along the names tells.
    if headers.keys().any(is_hop_by_hop) {
        for name in &HOP_BY_HOP {
            headers.remove(name);
        }
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    // The first letter rules out nearly every other one, at the cost of one look.
    let first = name.as_str().as_bytes().first();
    matches!(first, Some(b't' | b'u' | b'p' | b'k' | b'h')) && HOP_BY_HOP.contains(name)
}

/// Whether a field of a response, as it was parsed, is not for the client but for us, or is made anew for it.
pub(crate) fn is_for_one_hop(name: &str) -> bool {
    // Its length rules out most names, and its first letter nearly all that are left.
    if !matches!(name.len(), 2 | 7 | 10 | 14 | 16..=18) {
        return false;
    }
    let is = |one: &HeaderName| name.eq_ignore_ascii_case(one.as_str());
    match name.as_bytes()[0].to_ascii_lowercase() {
        b'c' => is(&header::CONNECTION) || is(&header::CONTENT_LENGTH),
        b't' | b'u' | b'p' | b'k' | b'h' => HOP_BY_HOP.iter().any(is),
        _ => false,
    }
}

/// The protocol that the client would rather speak on this connection (RFC 9110 §7.8): HTTP/1.1 only, named by
/// `Connection`, and without content, since nobody could tell where that ends and the other protocol begins.
///
/// Behind hygiene, `Upgrade` is there if and only if it is to be passed on.
fn wanted_upgrade(request: &Request) -> Option<HeaderValue> {
    if request.extensions().get::<Bridged>().is_some() {
        return Some(HeaderValue::from_static("websocket"));
    }
    let mut protocols = request.headers().get_all(header::UPGRADE).iter();
    let protocol = protocols.next()?;
    let is_named = nominated(request.headers()).contains(&header::UPGRADE);
    // HTTP/2 is chosen in other ways (RFC 9113 §3.1).
    let is_other = !protocol.as_bytes().eq_ignore_ascii_case(b"h2c");
    let is_right = request.version() == Version::HTTP_11 && request.body().is_end_stream();
    (is_named && is_other && is_right && protocols.next().is_none()).then(|| protocol.clone())
}

/// Whether the client takes trailers (RFC 9110 §10.1.4). Nothing else that `TE` may say is passed on.
fn wants_trailers(request: &Request) -> bool {
    let Some(te) = request.headers().get(header::TE) else {
        return false;
    };
    // In HTTP/1 the field is for one hop, which `Connection` has to say.
    let is_said =
        request.version() == Version::HTTP_2 || nominated(request.headers()).contains(&header::TE);
    let mut codings = te.to_str().unwrap_or_default().split(',');
    is_said && codings.any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// HTTP/2 clients may send a cookie in crumbs; whoever speaks anything else gets it whole (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<_> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(whole) = HeaderValue::from_maybe_shared(bytes::Bytes::from(crumbs.join(&b"; "[..]))) {
        headers.insert(header::COOKIE, whole);
    }
}

/// The fields that `Connection` names. `Host` and `Content-Length` are never among them: without them the message would
/// be another one.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let lists = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    lists
        .flat_map(|list| list.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH)
        .collect()
}

/// Sets `Host` to the host that was found, whatever way the client said it.
pub(crate) fn set_host(headers: &mut HeaderMap, host: &Host) -> Result<(), Error> {
    if headers
        .get(header::HOST)
        .is_some_and(|value| value == host.as_str())
    {
        return Ok(());
    }
    let value = HeaderValue::from_str(host.as_str())
        .map_err(|error| Error::because(Kind::BadRequest, error))?;
    headers.insert(header::HOST, value);
    Ok(())
}

/// The scheme's name as forwarding fields spell it.
pub(crate) fn scheme_value(scheme: Scheme) -> HeaderValue {
    HeaderValue::from_static(scheme.as_str())
}

fn bad(why: &'static str) -> Error {
    Error::because(Kind::BadRequest, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Body;

    fn connection() -> Connection {
        Connection::plain(
            "192.0.2.1:5000".parse().unwrap(),
            "192.0.2.2:80".parse().unwrap(),
        )
    }

    fn request(target: &str, fields: &[(&str, &str)]) -> Request {
        let mut request = http::Request::builder().uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    fn admitted(target: &str, fields: &[(&str, &str)]) -> Result<(String, String), Kind> {
        admit(
            Box::new(request(target, fields)),
            &connection(),
            Scheme::Http,
            None,
        )
        .map(|(request, host)| (request.uri().to_string(), host.as_str().to_owned()))
        .map_err(|error| error.kind())
    }

    #[test]
    fn fields_for_one_hop_are_known_as_parsed_too() {
        let ours = [header::CONNECTION, header::CONTENT_LENGTH];
        for name in HOP_BY_HOP.iter().chain(&ours) {
            assert!(is_for_one_hop(name.as_str()), "{name}");
            assert!(
                is_for_one_hop(&name.as_str().to_ascii_uppercase()),
                "{name}"
            );
        }
        for other in ["a", "date", "upgrades", "ce", "content-type", "keep-alivf"] {
            assert!(!is_for_one_hop(other), "{other}");
        }
    }

    #[test]
    fn one_host_wherever_it_stands() {
        let host = |target, fields: &[_]| admitted(target, fields).map(|(_, host)| host);
        assert_eq!(
            host("/", &[("host", "Shop.Example:80")]),
            Ok("shop.example".into())
        );
        assert_eq!(
            host("http://shop.example/", &[("host", "shop.example")]),
            Ok("shop.example".into())
        );
        assert_eq!(host("http://shop.example/", &[]), Ok("shop.example".into()));
        assert_eq!(
            host("http://shop.example/", &[("host", "other.example")]),
            Err(Kind::BadRequest)
        );
        assert_eq!(host("/", &[]), Err(Kind::BadRequest));
        assert_eq!(
            host("/", &[("host", "a.example"), ("host", "a.example")]),
            Err(Kind::BadRequest)
        );
        assert_eq!(host("/", &[("host", "a b")]), Err(Kind::BadRequest));
        assert_eq!(
            host("/", &[("host", "user@a.example")]),
            Err(Kind::BadRequest)
        );
        assert_eq!(host("ftp://a.example/", &[]), Err(Kind::BadRequest));
    }

    #[test]
    fn header_fields_are_counted() {
        let fields = |count: usize| [&[("host", "a")], &vec![("x", "1"); count - 1][..]].concat();
        assert!(admitted("/", &fields(100)).is_ok());
        assert_eq!(admitted("/", &fields(101)), Err(Kind::HeaderTooLarge));
    }

    #[test]
    fn tunnels_are_refused_and_protocols_that_are_not_known() {
        let connect = |protocol: Option<&'static str>| {
            let mut request = request("http://a/", &[]);
            *request.method_mut() = Method::CONNECT;
            let protocol = protocol.map(h2::ext::Protocol::from_static);
            protocol.and_then(|protocol| request.extensions_mut().insert(protocol));
            let admitted = admit(Box::new(request), &connection(), Scheme::Http, None);
            admitted.map_err(|error| error.kind()).unwrap_err()
        };
        assert_eq!(connect(None), Kind::MethodNotAllowed);
        assert_eq!(connect(Some("connect-udp")), Kind::NotImplemented);
    }

    #[test]
    fn one_way_to_write_a_path() {
        let path = |target| admitted(target, &[("host", "a")]).map(|(path, _)| path);
        for (written, meant) in [
            ("/a/b?x=%2e%2e/..", "/a/b?x=%2e%2e/.."),
            ("/a/./b/../c", "/a/c"),
            ("/a/%2E%2e/c", "/c"),
            ("/a/..", "/"),
            ("/a/b/.", "/a/b/"),
            ("/%7euser/%c3%a9%2f", "/~user/%C3%A9%2F"),
            ("/.well-known/x", "/.well-known/x"),
            ("//a//b", "//a//b"),
            ("/...", "/..."),
        ] {
            assert_eq!(path(written), Ok(meant.to_owned()), "{written}");
        }
        for wrong in [
            "/a\\..\\b",
            "/../etc",
            "/a/%2e%2e/../x",
            "/%zz",
            "/%4",
            "/%00",
        ] {
            assert_eq!(path(wrong), Err(Kind::BadRequest), "{wrong}");
        }
    }

    #[test]
    fn nothing_for_one_hop_goes_on() {
        let mut headers = request(
            "/",
            &[
                ("host", "a"),
                ("connection", "close, X-Secret, host"),
                ("x-secret", "1"),
                ("keep-alive", "timeout=5"),
                ("te", "trailers"),
                ("upgrade", "h2c"),
                ("transfer-encoding", "chunked"),
                ("accept", "*/*"),
            ],
        )
        .headers()
        .clone();
        strip(&mut headers);
        let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["host", "accept"]);
    }

    #[test]
    fn tunnels_and_echoes_are_refused() {
        for method in [Method::CONNECT, Method::TRACE] {
            let mut request = request("/", &[("host", "a")]);
            *request.method_mut() = method;
            assert_eq!(
                admit(Box::new(request), &connection(), Scheme::Http, None)
                    .unwrap_err()
                    .kind(),
                Kind::MethodNotAllowed
            );
        }
    }
}
