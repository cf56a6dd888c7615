//! Clients that show certificates.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cirrus_core::testing::certs::{Authority, Pair};
use cirrus_core::testing::{Client, Origin, RunningOrigin, certs, proxy, reply};
use cirrus_tls::Fixed;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    self, ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion,
};

use crate::soon;

const HOSTS: [&str; 4] = [
    "must.example",
    "may.example",
    "open.example",
    "other.example",
];

/// Four sites: a certificate is needed, asked for, not asked for, and needed from somebody else.
struct World {
    proxy: proxy::Running,
    server: Pair,
    authority: Authority,
    directory: tempfile::TempDir,
    _origin: RunningOrigin,
}

async fn world(extra: &str) -> World {
    let origin = Origin::new()
        .get("/", |asked| {
            let told =
                ["subject", "names"].map(|one| asked.header(&format!("x-client-cert-{one}")));
            let whole = asked.header("client-cert").starts_with(":MII");
            reply(format!("{} {} {whole}", told[0], told[1]))
        })
        .run()
        .await;
    let (authority, other) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let ca = file("ca.pem", authority.pem());
    let crl = file("ca.crl", &authority.revoking(&[]));
    let other = file("other.pem", other.pem());
    let pass = "pass = [\"subject\", \"names\", \"certificate\"]";
    let auths = [
        format!("client_auth = {{ ca = \"{ca}\", crl = [\"{crl}\"], {pass} }}"),
        format!("client_auth = {{ ca = \"{ca}\", mode = \"optional\", {pass} }}"),
        String::new(),
        format!("client_auth = {{ ca = \"{other}\", {pass} }}"),
    ];
    let sites = HOSTS.iter().zip(auths).map(|(host, auth)| {
        format!(
            "[[site]]\nhosts = [\"{host}\"]\norigin = [{{ url = \"{}\" }}]\ntls = {{ {auth} }}\n",
            origin.url()
        )
    });
    let sites: String = sites.collect();
    let toml = format!(
        "{extra}\n[[listen]]\naddress = \"127.0.0.1:0\"\ntls = true\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\n{sites}"
    );
    let server = certs::for_names(&HOSTS);
    let certificate = server.certificate();
    let proxy = proxy::new(&toml).with(|builder| builder.certs(Fixed::new(certificate)));
    World {
        proxy: proxy.run().await,
        server,
        authority,
        directory,
        _origin: origin,
    }
}

impl World {
    fn client(
        &self,
        pair: Option<&Pair>,
        version: &'static SupportedProtocolVersion,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.server.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let Some(pair) = pair else {
            return config.with_no_client_auth();
        };
        let chain = CertificateDer::pem_slice_iter(pair.chain_pem.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).unwrap();
        config
            .with_client_auth_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap()
    }

    async fn connect(
        &self,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TcpStream::connect(self.proxy.address()).await?;
        soon(TlsConnector::from(Arc::clone(config)).connect(name, stream)).await
    }

    /// What the origin is told; `None` if there is no connection.
    async fn told(
        &self,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> Option<(HandshakeKind, u16, String)> {
        let stream = self.connect(config, name).await.ok()?;
        let kind = stream.get_ref().1.handshake_kind().unwrap();
        // With TLS 1.3 a client hears of its refusal behind the handshake.
        let mut client = Client::to(self.proxy.address()).host(name).over(stream);
        let lies = "X-Client-Cert-Subject: CN=admin\r\nClient-Cert: :AA==:\r\n";
        let request = format!("GET / HTTP/1.1\r\nhost: {name}\r\n{lies}\r\n");
        client.send(request.as_bytes()).await;
        let response = client.reply_or_end("GET").await?;
        Some((kind, response.status, response.text().to_owned()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

#[tokio::test]
async fn who_shows_what_is_asked_for_is_served_and_made_known() {
    let world = world("").await;
    let alice = world.authority.issue(&["alice.example"]);
    let mallory = Authority::new().issue(&["alice.example"]);
    let known = "CN=Cirrus test dns:alice.example true";
    for version in [&TLS12, &TLS13] {
        for (host, pair, told) in [
            ("must.example", Some(&alice), Some(known)),
            ("must.example", None, None),
            ("must.example", Some(&mallory), None),
            ("may.example", Some(&alice), Some(known)),
            ("may.example", None, Some("  false")),
            ("may.example", Some(&mallory), None),
            ("open.example", Some(&alice), Some("  false")),
            ("other.example", Some(&alice), None),
        ] {
            let config = Arc::new(world.client(pair, version));
            let got = world.told(&config, host).await;
            let got = got.as_ref().map(|(_, status, text)| (*status, &**text));
            assert_eq!(got, told.map(|told| (200, told)), "{host} {version:?}");
        }
    }
}

#[tokio::test]
async fn one_sites_connection_is_no_way_into_another() {
    let world = world("").await;
    let alice = world.authority.issue(&["alice.example"]);
    let config = Arc::new(world.client(Some(&alice), &TLS13));
    for (name, answers) in [
        (
            "open.example",
            [
                ("must.example", 421),
                ("may.example", 421),
                ("open.example", 200),
            ],
        ),
        (
            "may.example",
            [
                ("must.example", 421),
                ("other.example", 421),
                ("open.example", 200),
            ],
        ),
    ] {
        let stream = world.connect(&config, name).await.unwrap();
        let mut client = Client::to(world.proxy.address()).over(stream);
        for (host, status) in answers {
            client = client.host(host);
            assert_eq!(client.get("/").await.status, status, "{host} on {name}");
        }
    }
    let mut plain = Client::to(world.proxy.addresses()[1]);
    for (host, status) in [
        ("must.example", 403),
        ("may.example", 200),
        ("open.example", 200),
    ] {
        plain = plain.host(host);
        assert_eq!(plain.get("/").await.status, status, "{host} without TLS");
    }
}

#[tokio::test]
async fn sessions_are_resumed_with_their_certificates_and_not_elsewhere() {
    for extra in ["", "[tls]\nresumption = \"stateful\"\n"] {
        let world = world(extra).await;
        let alice = world.authority.issue(&["alice.example"]);
        for version in [&TLS12, &TLS13] {
            let config = Arc::new(world.client(Some(&alice), version));
            for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
                let (got, status, text) = world.told(&config, "must.example").await.unwrap();
                assert_eq!((got, status), (kind, 200), "{extra} {version:?}");
                assert_eq!(text, "CN=Cirrus test dns:alice.example true");
            }
        }
    }
}

#[tokio::test]
async fn without_resumption_every_handshake_is_full() {
    let world = world("[tls]\nresumption = \"off\"\n").await;
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(world.client(None, version));
        for _ in 0..2 {
            let (kind, ..) = world.told(&config, "open.example").await.unwrap();
            assert_eq!(kind, HandshakeKind::Full);
        }
    }
}

#[tokio::test]
async fn who_is_revoked_is_out_and_does_not_come_back_by_a_ticket() {
    let world = world("").await;
    let (alice, bob) = (
        world.authority.issue(&["alice.example"]),
        world.authority.issue(&["bob.example"]),
    );
    let alices = Arc::new(world.client(Some(&alice), &TLS13));
    assert!(world.told(&alices, "must.example").await.is_some());
    std::fs::write(world.path("ca.crl"), world.authority.revoking(&[&alice])).unwrap();
    // Looked at every five seconds.
    let out = async {
        while world.told(&alices, "must.example").await.is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon(out).await;
    let bobs = Arc::new(world.client(Some(&bob), &TLS13));
    assert!(world.told(&bobs, "must.example").await.is_some());
    std::fs::write(world.path("ca.crl"), "nonsense").unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(
        world.told(&bobs, "must.example").await.is_some(),
        "what was read stays"
    );
    assert!(world.told(&alices, "must.example").await.is_none());
}

#[tokio::test]
async fn a_fleet_resumes_the_sessions_of_its_members() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef\n").unwrap();
    let tls = format!("[tls]\nticket_secrets = [\"{}\"]\n", secret.display());
    let pair = certs::for_names(&["shop.example"]);
    let member = async |tls: &str| {
        let certificate = pair.certificate();
        let toml = format!(
            "{tls}[[listen]]\naddress = \"127.0.0.1:0\"\ntls = true\n\
             [[site]]\nhosts = [\"*\"]\nroute = [{{ respond = {{}} }}]\n"
        );
        let proxy = proxy::new(&toml).with(|builder| builder.certs(Fixed::new(certificate)));
        proxy.run().await
    };
    let (one, other, stranger) = (member(&tls).await, member(&tls).await, member("").await);
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(certs::client_trusting_anyone(&[], &[version]));
        for (proxy, kind) in [
            (&one, HandshakeKind::Full),
            (&other, HandshakeKind::Resumed),
            (&stranger, HandshakeKind::Full),
        ] {
            let name = ServerName::try_from("shop.example").unwrap();
            let stream = TcpStream::connect(proxy.address()).await.unwrap();
            let connector = TlsConnector::from(Arc::clone(&config));
            let stream = soon(connector.connect(name, stream)).await.unwrap();
            assert_eq!(
                stream.get_ref().1.handshake_kind(),
                Some(kind),
                "{version:?}"
            );
            let mut client = Client::to(proxy.address()).over(stream);
            assert_eq!(client.get("/").await.status, 200);
        }
    }
}
