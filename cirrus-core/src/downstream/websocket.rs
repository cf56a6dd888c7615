//! A WebSocket that a client asks for over HTTP/2 (RFC 8441) and an origin serves over HTTP/1.1
//! (RFC 6455).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use http::{HeaderMap, HeaderValue, Method, Request};

/// The request behind it was an extended CONNECT. In the extensions of such requests; only a codec
/// puts it there.
///
/// HTTP/2 clients send no key, since a stream cannot be mistaken for anything else; the origin
/// wants one, so it is made here, and the answer to it is checked here.
#[derive(Clone, Debug)]
pub(crate) struct Bridged {
    key: HeaderValue,
}

/// What every key is joined with (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

// === impl Bridged ===

impl Bridged {
    /// Makes an extended CONNECT the request that HTTP/1.1 origins know. `Connection` and `Upgrade`
    /// are `forward`'s.
    pub(crate) fn bridge<B>(request: &mut Request<B>) {
        let mut random = [0; 16];
        // A key keeps caches and confused servers away, and is no secret: zeros would do as well.
        let _ = aws_lc_rs::rand::fill(&mut random);
        let key = HeaderValue::try_from(STANDARD.encode(random));
        let key = key.unwrap_or(HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAA=="));
        *request.method_mut() = Method::GET;
        let headers = request.headers_mut();
        // CONNECT has no content; GET would.
        headers.remove(CONTENT_LENGTH);
        headers.insert(SEC_WEBSOCKET_KEY, key.clone());
        request.extensions_mut().insert(Self { key });
    }

    /// Whether the origin has understood what it was asked.
    pub(crate) fn is_accepted(&self, response: &HeaderMap) -> bool {
        let accept = response.get(SEC_WEBSOCKET_ACCEPT);
        accept.is_some_and(|accept| accept.as_bytes() == accept_for(self.key.as_bytes()).as_bytes())
    }
}

fn accept_for(key: &[u8]) -> String {
    let joined = [key, GUID].concat();
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &joined))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_key_is_the_one_of_the_rfc() {
        let accept = accept_for(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn keys_are_new_and_the_clients_own_is_not_used() {
        let made = || {
            let mut request = Request::new(());
            let own = HeaderValue::from_static("own");
            request.headers_mut().insert(SEC_WEBSOCKET_KEY, own);
            Bridged::bridge(&mut request);
            request.headers()[SEC_WEBSOCKET_KEY].clone()
        };
        let (one, other) = (made(), made());
        assert_ne!(one, other);
        assert_eq!(STANDARD.decode(one.as_bytes()).unwrap().len(), 16);
    }
}
