//! The contract of every certificate provider.

use std::path::Path;
use std::sync::Arc;

use cirrus_core::Timestamp;
use cirrus_core::testing::{cert_provider_suite, certs};
use cirrus_tls::acme::{Acme, CertRecord, DiskStore, Wanted};

cert_provider_suite!(known);

/// The certificate is in the store, as somebody has left it there.
fn known() -> Acme {
    let names = ["known.example", "*.known.example"];
    let state = Path::new(env!("CARGO_TARGET_TMPDIR")).join("acme-suite");
    let store = Arc::new(DiskStore::open(&state).unwrap());
    let file = state.join("certs/known.example.json");
    // Tests run at the same time, and all of them want the same one.
    static WRITTEN: std::sync::Once = std::sync::Once::new();
    WRITTEN.call_once(|| {
        let pair = certs::for_names(&names);
        let record = CertRecord::new(pair.chain_pem, pair.key_pem, Timestamp::default());
        std::fs::write(file, record.to_text()).unwrap();
    });
    let wanted = Wanted::new(names);
    Acme::builder(store).want(wanted).build().unwrap()
}
