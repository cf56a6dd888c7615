//! Name and password (RFC 7617).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use tokio::time::Instant;

use super::entries::entries;
use super::gate::Gate;
use super::identity::{Identity, tell};
use super::parameter::authorization;
use super::watched::Watched;
use super::{Check, Reason, Refused};
use crate::body::Request;
use crate::config::{BasicAuthConfig, PasswordHash};
use crate::error::{Error, Kind};
use crate::middleware::Context;

/// How long a password that was right need not be checked again.
const REMEMBERED: Duration = Duration::from_secs(5 * 60);

/// Nobody types more; hashing does not become slower with it, but need not be tried.
const LONGEST: usize = 4096;

/// Some clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What remembered passwords are hashed with: new in every process, so that their hashes are of no use elsewhere.
/// `None` without randomness: then nothing is remembered.
static SECRET: LazyLock<Option<hmac::Key>> =
    LazyLock::new(|| hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new()).ok());

/// Asks for name and password.
#[derive(Debug)]
pub(crate) struct BasicAuth {
    users: Users,
    file: Option<Arc<Watched<Users>>>,
    challenge: HeaderValue,
    forward: bool,
    user_header: Option<HeaderName>,
    identity: Identity,
}

/// Users by their names.
#[derive(Debug, Default)]
struct Users(HashMap<Arc<str>, Arc<User>>);

#[derive(Debug)]
struct User {
    name: Arc<str>,
    hash: PasswordHash,
    /// At most one password for each user: what is remembered is bounded by the users there are.
    proven: ArcSwapOption<Proven>,
}

/// A password that was right.
#[derive(Debug)]
struct Proven {
    tag: hmac::Tag,
    until: Instant,
}

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
struct Credentials {
    name: String,
    password: Vec<u8>,
}

// === impl BasicAuth ===

impl BasicAuth {
    pub(crate) fn new(config: &BasicAuthConfig) -> Self {
        let user_header = config.user_header.as_ref().map(|name| name.to_name());
        let file = config.users_file.as_deref();
        Self {
            users: Users::new(config.users.clone()),
            file: file.map(|path| Watched::open(path, |text| entries(text).map(Users::new))),
            challenge: challenge(config.realm.as_str()),
            forward: config.forward,
            identity: Identity::new(user_header.clone()),
            user_header,
        }
    }

    /// The user that these are of.
    async fn verify(&self, cx: &Context, given: Credentials) -> Result<Arc<User>, Error> {
        let from_file = match &self.file {
            Some(file) => Some(file.now(cx).await),
            None => None,
        };
        let all = [Some(&self.users), from_file.as_deref()];
        let found = all
            .iter()
            .flatten()
            .find_map(|users| users.0.get(&*given.name));
        // Whoever tries a name must not learn from the time it takes whether there is such a user.
        let decoy = || {
            all.iter()
                .flatten()
                .find_map(|users| users.0.values().next())
        };
        let Some(user) = found.or_else(decoy).cloned() else {
            return Err(self.refuse());
        };
        let right = if found.is_some() {
            user.prove(Gate::shared(), given.password).await?
        } else {
            let decoy = Arc::clone(&user);
            let work = move || decoy.hash.is_of(&given.password);
            // Only for the time that it takes.
            let _ = Gate::shared().work(|| false, work).await?;
            false
        };
        if right { Ok(user) } else { Err(self.refuse()) }
    }

    fn refuse(&self) -> Error {
        Error::new(Kind::Unauthorized).with_field(WWW_AUTHENTICATE, self.challenge.clone())
    }
}

impl Check for BasicAuth {
    const REASON: Reason = Reason::Basic;

    async fn check<'a>(
        &'a self,
        cx: &'a mut Context,
        request: &'a mut Request,
    ) -> Result<(), Refused> {
        let given = Credentials::of(request.headers()).ok_or_else(|| self.refuse())?;
        let user = self.verify(cx, given).await?;
        let headers = request.headers_mut();
        if !self.forward {
            headers.remove(AUTHORIZATION);
        }
        self.identity.strip(headers);
        if let Some(field) = &self.user_header {
            tell(headers, field, &user.name);
            cx.personal = true;
        }
        cx.user = Some(Arc::clone(&user.name));
        Ok(())
    }
}

/// RFC 9110 §11.6.1: the realm is a quoted string.
fn challenge(realm: &str) -> HeaderValue {
    let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
    HeaderValue::try_from(format!("Basic realm=\"{quoted}\", charset=\"UTF-8\""))
        .unwrap_or(const { HeaderValue::from_static("Basic realm=\"restricted\"") })
}

// === impl Credentials ===

impl Credentials {
    fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(authorization(headers, "Basic")?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut name = BASE64
            .decode(text)
            .ok()
            .filter(|bytes| bytes.len() <= LONGEST)?;
        let colon = name.iter().position(|&byte| byte == b':')?;
        let password = name.split_off(colon + 1);
        name.truncate(colon);
        let name = String::from_utf8(name).ok()?;
        Some(Self { name, password })
    }
}

// === impl Users ===

impl Users {
    fn new(hashes: BTreeMap<String, PasswordHash>) -> Self {
        let user = |(name, hash): (String, PasswordHash)| {
            let name: Arc<str> = name.into();
            let proven = ArcSwapOption::empty();
            let user = User {
                name: Arc::clone(&name),
                hash,
                proven,
            };
            (name, Arc::new(user))
        };
        Self(hashes.into_iter().map(user).collect())
    }
}

// === impl User ===

impl User {
    /// Whether this is the user's password: from memory, or else with the time that takes.
    async fn prove(self: &Arc<Self>, gate: &Gate, password: Vec<u8>) -> Result<bool, Error> {
        let secret = SECRET.as_ref();
        let tag = secret.map(|secret| hmac::sign(secret, &password));
        let known = || tag.as_ref().is_some_and(|tag| self.remembers(tag));
        if known() {
            return Ok(true);
        }
        let user = Arc::clone(self);
        let right = gate.work(known, move || user.hash.is_of(&password)).await?;
        if let (true, Some(tag)) = (right, tag) {
            let until = Instant::now() + REMEMBERED;
            self.proven.store(Some(Arc::new(Proven { tag, until })));
        }
        Ok(right)
    }

    fn remembers(&self, tag: &hmac::Tag) -> bool {
        let proven = self.proven.load();
        proven.as_ref().is_some_and(|proven| {
            let equal = aws_lc_rs::constant_time::verify_slices_are_equal;
            proven.until > Instant::now() && equal(proven.tag.as_ref(), tag.as_ref()).is_ok()
        })
    }
}

#[cfg(fuzzing)]
pub(super) mod fuzz;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Option<(String, Vec<u8>)> {
        Credentials::parse(text).map(|given| (given.name, given.password))
    }

    #[test]
    fn reads_what_clients_send() {
        let pair =
            |name: &str, password: &str| Some((name.to_owned(), password.as_bytes().to_vec()));
        assert_eq!(parsed("YWxpY2U6c2VjcmV0"), pair("alice", "secret"));
        assert_eq!(parsed("YTpiOmM="), pair("a", "b:c"), "colons in a password");
        assert_eq!(parsed("YTpiOmM"), pair("a", "b:c"), "without padding");
        assert_eq!(parsed("Og=="), pair("", ""));
        for wrong in [
            "",
            "YWxpY2U=",
            "%%%%",
            "YWxp Y2U6",
            "YWxpY2U6c2Vjcm_0",
            "/zph",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
        assert_eq!(parsed(&BASE64.encode(vec![b':'; LONGEST + 1])), None);
    }

    #[test]
    fn a_realm_stays_within_its_quotes() {
        assert_eq!(
            challenge(r#"a"b\c"#),
            r#"Basic realm="a\"b\\c", charset="UTF-8""#
        );
    }

    fn user(password: &str) -> Arc<User> {
        let hash = bcrypt::hash_with_salt(password, 4, *b"0123456789abcdef").unwrap();
        let hash = hash.to_string().parse().unwrap();
        let users = Users::new(BTreeMap::from([("alice".to_owned(), hash)]));
        Arc::clone(users.0.values().next().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_password_is_remembered_for_a_while() {
        let user = user("secret");
        let gate = Gate::new(1, 0);
        assert!(user.prove(&gate, b"secret".to_vec()).await.unwrap());
        // Nobody gets through this one: what is right comes from memory.
        let closed = Gate::new(0, 0);
        assert!(user.prove(&closed, b"secret".to_vec()).await.unwrap());
        assert!(user.prove(&closed, b"Secret".to_vec()).await.is_err());
        tokio::time::advance(REMEMBERED).await;
        assert!(user.prove(&closed, b"secret".to_vec()).await.is_err());
        assert!(!user.prove(&gate, b"wrong".to_vec()).await.unwrap());
        assert!(
            user.prove(&closed, b"wrong".to_vec()).await.is_err(),
            "what is wrong is not"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_come_through(name in "[^:]{0,20}", password in proptest::collection::vec(any::<u8>(), 0..40)) {
            let bytes = [name.as_bytes(), b":", &password].concat();
            prop_assert_eq!(parsed(&BASE64.encode(bytes)), Some((name, password)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[ -~]{0,40}") {
            let _ = parsed(&text);
        }
    }
}
