//! Session tickets: their keys, which change with time and may be a fleet's.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{self, AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand;
use parking_lot::Mutex;
use rustls::server::ProducesTickets;

use super::auth::Domain;
use crate::clock::{Clock, Timestamp};

/// What the keys of all tickets are derived from. The time is cut into epochs; tickets are given out with the secret of
/// the present one, and taken with that of the one before too.
pub(crate) struct TicketSecrets {
    rotation: Duration,
    clock: Arc<dyn Clock>,
    source: Source,
    present: ArcSwap<Epoch>,
    /// One makes the next epoch.
    turning: Mutex<()>,
}

/// Where secrets come from.
enum Source {
    /// New ones from chance: whoever takes this process's memory learns nothing of tickets of epochs long past.
    Own,
    /// Files with what a fleet has in common.
    Files(Vec<PathBuf>),
}

/// The secrets of one epoch, that for new tickets first.
struct Epoch {
    number: u64,
    /// What the files said; empty without files.
    shared: Vec<Secret>,
    /// With the number of the epoch they are for.
    secrets: Vec<(u64, Secret)>,
}

type Secret = [u8; 32];

/// Tickets of one domain of authentication: those of others cannot be read.
pub(super) struct Ticketer {
    secrets: Arc<TicketSecrets>,
    domain: Domain,
    derived: ArcSwap<Derived>,
}

struct Derived {
    of: Arc<Epoch>,
    keys: Vec<Key>,
}

struct Key {
    name: [u8; NAME],
    key: LessSafeKey,
}

/// Files of ticket secrets that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{} {why}", file.display())]
pub(crate) struct BadSecret {
    file: PathBuf,
    pub(crate) why: String,
}

/// Fewer bytes can be guessed.
const LEAST: usize = 32;
const MOST: u64 = 4096;

const NAME: usize = 16;
const NONCE: usize = aead::NONCE_LEN;
const TAG: usize = 16;

// === impl TicketSecrets ===

impl TicketSecrets {
    /// From these files, or from chance if there are none.
    pub(crate) fn new(
        files: &[PathBuf],
        rotation: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, BadSecret> {
        let shared = read_all(files)?;
        let source = match files {
            [] => Source::Own,
            files => Source::Files(files.to_vec()),
        };
        let present = Epoch::new(number(clock.now(), rotation), shared, None);
        Ok(Arc::new(Self {
            rotation,
            clock,
            source,
            present: ArcSwap::from_pointee(present),
            turning: Mutex::new(()),
        }))
    }

    /// Looks whether the files say something else (blocking). What cannot be read changes nothing.
    pub(crate) fn reload(&self) {
        let Source::Files(files) = &self.source else {
            return;
        };
        match read_all(files) {
            Ok(shared) => {
                let _turning = self.turning.lock();
                let present = self.present.load_full();
                if present.shared != shared {
                    tracing::info!("the secrets of session tickets have changed");
                    let next = Epoch::new(present.number, shared, None);
                    self.present.store(Arc::new(next));
                }
            }
            Err(error) => tracing::warn!(%error, "the secrets of session tickets stay as they are"),
        }
    }

    fn epoch(&self) -> Arc<Epoch> {
        let number = number(self.clock.now(), self.rotation);
        let present = self.present.load_full();
        if present.number == number {
            return present;
        }
        let _turning = self.turning.lock();
        // Somebody turned while we waited.
        let present = self.present.load_full();
        if present.number == number {
            return present;
        }
        let next = Arc::new(Epoch::new(number, present.shared.clone(), Some(&present)));
        self.present.store(Arc::clone(&next));
        next
    }
}

impl fmt::Debug for TicketSecrets {
    /// Never shows a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketSecrets")
            .field("rotation", &self.rotation)
            .finish_non_exhaustive()
    }
}

fn number(now: Timestamp, rotation: Duration) -> u64 {
    now.as_secs() / rotation.as_secs().max(1)
}

fn read_all(files: &[PathBuf]) -> Result<Vec<Secret>, BadSecret> {
    files.iter().map(|file| read(file)).collect()
}

/// Whether a file can be used.
pub(crate) fn check_secret(file: &Path) -> Result<(), BadSecret> {
    read(file).map(drop)
}

fn read(file: &Path) -> Result<Secret, BadSecret> {
    let bad = |why: String| BadSecret {
        file: file.to_owned(),
        why,
    };
    let metadata =
        std::fs::metadata(file).map_err(|error| bad(format!("cannot be read: {error}")))?;
    if !metadata.is_file() || metadata.len() > MOST {
        return Err(bad(format!("is no file of at most {MOST} bytes")));
    }
    let bytes = std::fs::read(file).map_err(|error| bad(format!("cannot be read: {error}")))?;
    // An editor's line break is no part of the secret.
    let secret = bytes.trim_ascii();
    if secret.len() < LEAST {
        return Err(bad(format!(
            "has {} bytes: at least {LEAST} are needed; `openssl rand -hex 32` makes some",
            secret.len()
        )));
    }
    Ok(expand(secret, &[b"cirrus ticket secret"]))
}

// === impl Epoch ===

impl Epoch {
    fn new(number: u64, shared: Vec<Secret>, before: Option<&Self>) -> Self {
        let secrets = if shared.is_empty() {
            let kept = before.into_iter().flat_map(|before| &before.secrets);
            let kept = kept.filter(|(of, _)| of + 1 == number).copied();
            [(number, random())].into_iter().chain(kept).collect()
        } else {
            // Clocks of a fleet differ: some edge may be in the next epoch already.
            let near = [Some(number), number.checked_sub(1), number.checked_add(1)];
            let of = |secret: &Secret| {
                let secret = *secret;
                near.into_iter().flatten().map(move |epoch| {
                    (
                        epoch,
                        expand(&secret, &[b"cirrus ticket epoch", &epoch.to_be_bytes()]),
                    )
                })
            };
            shared.iter().flat_map(of).collect()
        };
        Self {
            number,
            shared,
            secrets,
        }
    }
}

fn random() -> Secret {
    let mut secret = [0; 32];
    // Without chance no TLS is possible; a secret of zeros must not be.
    assert!(rand::fill(&mut secret).is_ok(), "the system has no entropy");
    secret
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-SHA-256 (RFC 5869).
fn expand<const N: usize>(secret: &[u8], info: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    let extracted = Salt::new(HKDF_SHA256, b"cirrus").extract(secret);
    let filled = extracted
        .expand(info, Length(N))
        .and_then(|okm| okm.fill(&mut out));
    // It fails for lengths beyond 8160 only.
    assert!(filled.is_ok(), "at most 32 bytes are asked for");
    out
}

// === impl Ticketer ===

impl Ticketer {
    pub(super) fn new(secrets: Arc<TicketSecrets>, domain: Domain) -> Self {
        let derived = Derived::new(secrets.epoch(), &domain);
        Self {
            secrets,
            domain,
            derived: ArcSwap::from_pointee(derived),
        }
    }

    fn derived(&self) -> Arc<Derived> {
        let epoch = self.secrets.epoch();
        let derived = self.derived.load_full();
        if Arc::ptr_eq(&derived.of, &epoch) {
            return derived;
        }
        let derived = Arc::new(Derived::new(epoch, &self.domain));
        self.derived.store(Arc::clone(&derived));
        derived
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.secrets.rotation.as_secs() * 2).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.derived().keys.first()?.seal(plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let name = ticket.get(..NAME)?;
        // A key's name is no secret.
        let derived = self.derived();
        let key = derived.keys.iter().find(|key| key.name == name)?;
        key.open(ticket)
    }
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticketer")
    }
}

// === impl Derived ===

impl Derived {
    fn new(of: Arc<Epoch>, domain: &Domain) -> Self {
        let keys = of.secrets.iter();
        let keys = keys.filter_map(|(_, secret)| Key::new(secret, domain));
        Self {
            keys: keys.collect(),
            of,
        }
    }
}

// === impl Key ===

impl Key {
    fn new(secret: &Secret, domain: &Domain) -> Option<Self> {
        let key: [u8; 32] = expand(secret, &[b"cirrus ticket key", domain.as_bytes()]);
        Some(Self {
            name: expand(secret, &[b"cirrus ticket name", domain.as_bytes()]),
            // Fleets give out many tickets with one key: with this algorithm nonces by chance may even meet.
            key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &key).ok()?),
        })
    }

    /// Name, nonce, what is encrypted with its tag.
    fn seal(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let aad = Aad::from(&self.name);
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .ok()?;
        Some([&self.name[..], &nonce, &sealed].concat())
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = ticket.get(NAME..)?.split_at_checked(NONCE)?;
        if sealed.len() < TAG {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(&self.name), &mut sealed);
        let length = plain.ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::ManualClock;

    const HOUR: Duration = Duration::from_secs(3600);

    fn clock() -> ManualClock {
        ManualClock::at(Timestamp::from_secs(1_800_000_000))
    }

    fn ticketer(secrets: &Arc<TicketSecrets>, domain: u8) -> Ticketer {
        Ticketer::new(Arc::clone(secrets), Domain::testing(domain))
    }

    fn secrets(files: &[PathBuf], clock: &ManualClock) -> Arc<TicketSecrets> {
        TicketSecrets::new(files, HOUR, Arc::new(clock.clone())).unwrap()
    }

    fn file(directory: &tempfile::TempDir, name: &str, letter: u8) -> PathBuf {
        let path = directory.path().join(name);
        std::fs::write(&path, [letter; 32]).unwrap();
        path
    }

    #[test]
    fn a_ticket_is_good_for_two_epochs_and_no_longer() {
        let clock = clock();
        let tickets = ticketer(&secrets(&[], &clock), 0);
        let ticket = tickets.encrypt(b"session").unwrap();
        for (hours, good) in [(0, true), (1, true), (1, false)] {
            clock.advance(HOUR * hours);
            let read = tickets.decrypt(&ticket);
            assert_eq!(read.as_deref() == Some(b"session"), good, "{hours}");
        }
        clock.set(Timestamp::from_secs(1_800_000_000));
        assert_eq!(tickets.decrypt(&ticket), None, "its key is gone for ever");
    }

    #[test]
    fn domains_do_not_read_each_others_tickets() {
        let secrets = secrets(&[], &clock());
        let ticket = ticketer(&secrets, 0).encrypt(b"session").unwrap();
        assert_eq!(ticketer(&secrets, 1).decrypt(&ticket), None);
        assert!(ticketer(&secrets, 0).decrypt(&ticket).is_some());
    }

    #[test]
    fn a_fleet_shares_its_tickets_whatever_its_clocks_say() {
        let directory = tempfile::tempdir().unwrap();
        let files = [file(&directory, "a", b'a')];
        let here = clock();
        let ahead = ManualClock::at(Timestamp::from_secs(1_800_000_000 + 3600));
        let [one, other] = [&here, &ahead].map(|clock| ticketer(&secrets(&files, clock), 0));
        for (from, to) in [(&one, &other), (&other, &one)] {
            let ticket = from.encrypt(b"session").unwrap();
            assert_eq!(to.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        }
        let stranger = [file(&directory, "b", b'b')];
        let stranger = ticketer(&secrets(&stranger, &here), 0);
        assert_eq!(stranger.decrypt(&one.encrypt(b"session").unwrap()), None);
    }

    #[test]
    fn a_secret_is_replaced_without_losing_sessions() {
        let directory = tempfile::tempdir().unwrap();
        let files = [file(&directory, "new", b'a'), file(&directory, "old", b'z')];
        let secrets = secrets(&files, &clock());
        let tickets = ticketer(&secrets, 0);
        let ticket = tickets.encrypt(b"session").unwrap();
        file(&directory, "new", b'b');
        file(&directory, "old", b'a');
        secrets.reload();
        assert!(tickets.decrypt(&ticket).is_some());
        std::fs::write(&files[0], "short").unwrap();
        secrets.reload();
        assert!(tickets.decrypt(&ticket).is_some(), "what was read stays");
        file(&directory, "new", b'c');
        file(&directory, "old", b'd');
        secrets.reload();
        assert!(tickets.decrypt(&ticket).is_none());
    }

    proptest! {
        #[test]
        fn what_is_changed_is_not_read(plain: Vec<u8>, at: prop::sample::Index, bit in 0_u8..8) {
            let tickets = ticketer(&secrets(&[], &clock()), 0);
            let mut ticket = tickets.encrypt(&plain).unwrap();
            prop_assert_eq!(tickets.decrypt(&ticket), Some(plain));
            let at = at.index(ticket.len());
            ticket[at] ^= 1 << bit;
            prop_assert_eq!(tickets.decrypt(&ticket), None);
        }

        #[test]
        fn garbage_is_no_ticket(bytes: Vec<u8>) {
            prop_assert_eq!(ticketer(&secrets(&[], &clock()), 0).decrypt(&bytes), None);
        }
    }
}
