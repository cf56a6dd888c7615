//! One idea per program: each file in `examples/` is whole, and small enough to be read at once.
//!
//! | program | shows |
//! |---|---|
//! | `quickstart` | a caching proxy from a file, in ten lines |
//! | `custom_layer` | a tower layer of your own around every request |
//! | `custom_cache_store` | another place for responses |
//! | `custom_config_source` | a configuration that the program changes while it runs |
//! | `custom_discovery` | endpoints from a file of your own format |
//! | `custom_cert_provider` | certificates fetched when they are first asked for |
//! | `custom_probe` | a health check in a protocol of your own |
//! | `dynamic_registry` | backends that announce themselves through the admin API |
//! | `consul_gateway` | every service that Consul knows, at a path of its own |
//! | `canary` | a new version that gets a share of the users |
//! | `inside_axum` | the proxy behind an axum app's own routes |
//! | `hyper_only` | the proxy behind an accept loop of your own |
//!
//! `cargo run -p cirrus-examples --example custom_layer -- http://127.0.0.1:3000 127.0.0.1:8080` starts one; what each
//! takes stands at its top. They log where they listen, and end with Ctrl-C. The tests run all of them.

#![forbid(unsafe_code)]

/// The program's arguments; those that were not given have these defaults.
#[must_use]
pub fn arguments<const N: usize>(defaults: [&str; N]) -> [String; N] {
    let mut given = std::env::args().skip(1);
    defaults.map(|default| given.next().unwrap_or_else(|| default.to_owned()))
}

/// Logs what happens to standard output, and also where the server listens.
///
/// # Panics
///
/// If the program has a log already.
pub fn log() {
    tracing_subscriber::fmt()
        .with_env_filter("info,cirrus_core::server=debug")
        .init();
}
