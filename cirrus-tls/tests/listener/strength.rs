//! What OpenSSL and curl are offered, and what not.

use std::path::Path;

use cirrus_core::testing::{Origin, certs, proxy, reply};
use cirrus_tls::{Fixed, Folder};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::foreign::output;
use crate::{listener, soon};

/// OpenSSL's client, with these options.
fn s_client(proxy: &proxy::Running, options: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-servername", "shop.example"]);
    command.args(options);
    command.arg("-connect").arg(proxy.address().to_string());
    command
}

/// A pair whose certificate OpenSSL has made with an RSA key.
fn write_rsa(directory: &Path) {
    let run = std::process::Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
        ])
        .args([
            "-subj",
            "/CN=rsa",
            "-addext",
            "subjectAltName=DNS:shop.example",
        ])
        .args(["-keyout", "rsa.key", "-out", "rsa.pem"])
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
}

fn write_pair(directory: &Path, name: &str, pair: &certs::Pair) {
    std::fs::write(directory.join(format!("{name}.pem")), &pair.chain_pem).unwrap();
    std::fs::write(directory.join(format!("{name}.key")), &pair.key_pem).unwrap();
}

#[tokio::test]
async fn nothing_old_or_weak_is_offered() {
    let origin = Origin::new().run().await;
    let directory = tempfile::tempdir().unwrap();
    write_rsa(directory.path());
    write_pair(directory.path(), "ec", &certs::for_names(&["shop.example"]));
    let proxy = listener(&origin, Folder::open(directory.path()).unwrap()).await;
    let all = "ALL:@SECLEVEL=0";
    for options in [
        &["-tls1", "-cipher", all][..],
        &["-tls1_1", "-cipher", all],
        &["-tls1_2", "-cipher", "kRSA:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "kDHE:@SECLEVEL=0"],
        &[
            "-tls1_2",
            "-cipher",
            "ECDHE+SHA1:ECDHE+SHA256:ECDHE+SHA384:!AESGCM:!CHACHA20:@SECLEVEL=0",
        ],
        &["-tls1_2", "-cipher", "AESCCM:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"],
        &[
            "-tls1_2",
            "-sigalgs",
            "ECDSA+SHA1:RSA+SHA1",
            "-cipher",
            "ECDHE:@SECLEVEL=0",
        ],
    ] {
        let answer = output(&mut s_client(&proxy, options), "").await;
        assert!(answer.contains("Cipher is (NONE)"), "{options:?}: {answer}");
        assert!(answer.contains("alert"), "{options:?}: {answer}");
    }
    for options in [&["-tls1_2", "-comp"][..], &["-tls1_3", "-comp"]] {
        let answer = output(&mut s_client(&proxy, options), "Q\n").await;
        assert!(
            answer.contains("Compression: NONE"),
            "{options:?}: {answer}"
        );
        assert!(
            answer.contains("_GCM_SHA") || answer.contains("-GCM-SHA"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_connection_is_never_negotiated_again() {
    let origin = Origin::new().run().await;
    let pair = certs::for_names(&["shop.example"]);
    let proxy = listener(&origin, Fixed::new(pair.certificate())).await;
    let mut command = s_client(&proxy, &["-tls1_2"]);
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"R\n").await.unwrap();
    stdin.flush().await.unwrap();
    // It ends by itself: the server has refused.
    let ended = soon(child.wait_with_output()).await.unwrap();
    let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
    let (_, then) = said.split_once("RENEGOTIATING").expect("what it tried");
    assert!(then.contains(":error:"), "{said}");
    assert!(
        !then.contains("verify return"),
        "no second handshake: {said}"
    );
    drop(stdin);
}

#[tokio::test]
async fn who_can_gets_ecdsa_and_who_cannot_rsa() {
    let origin = Origin::new().run().await;
    let directory = tempfile::tempdir().unwrap();
    write_rsa(directory.path());
    write_pair(directory.path(), "ec", &certs::for_names(&["shop.example"]));
    let proxy = listener(&origin, Folder::open(directory.path()).unwrap()).await;
    for (options, kind) in [
        (&["-tls1_3"][..], "Peer signature type: ECDSA"),
        (&["-tls1_2"], "Peer signature type: ECDSA"),
        (
            &["-tls1_3", "-sigalgs", "RSA-PSS+SHA256"],
            "Peer signature type: RSA-PSS",
        ),
        // What it can verify is not what its suites have room for.
        (
            &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"],
            "Peer signature type: RSA",
        ),
    ] {
        let answer = output(&mut s_client(&proxy, options), "Q\n").await;
        assert!(answer.contains(kind), "{options:?}: {answer}");
    }
}

#[tokio::test]
async fn a_staple_is_for_who_asks_for_it() {
    let origin = Origin::new().run().await;
    let directory = tempfile::tempdir().unwrap();
    let pair = certs::for_names(&["shop.example"]);
    write_pair(directory.path(), "shop", &pair);
    // What a responder says that knows this one certificate, and signs with its key.
    let serial = "openssl x509 -in shop.pem -noout -serial | cut -d= -f2";
    let script = format!(
        "printf 'V\\t991231235959Z\\t\\t%s\\tunknown\\t/CN=x\\n' \"$({serial})\" > index.txt && \
         openssl ocsp -index index.txt -rsigner shop.pem -rkey shop.key -CA shop.pem \
         -issuer shop.pem -cert shop.pem -ndays 7 -respout shop.ocsp -noverify"
    );
    let run = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    let folder = Folder::open(directory.path()).unwrap();
    assert_eq!(folder.report(), []);
    let proxy = listener(&origin, folder).await;
    let asked = output(&mut s_client(&proxy, &["-status"]), "Q\n").await;
    assert!(
        asked.contains("OCSP Response Status: successful"),
        "{asked}"
    );
    assert!(asked.contains("Cert Status: good"), "{asked}");
}

#[tokio::test]
async fn curl_shows_its_certificate() {
    let origin = Origin::new()
        .get("/", |asked| reply(asked.header("x-client-cert-names")))
        .run()
        .await;
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let authority = certs::Authority::new();
    std::fs::write(at("ca.pem"), authority.pem()).unwrap();
    write_pair(
        directory.path(),
        "alice",
        &authority.issue(&["alice.example"]),
    );
    let server = authority.issue(&["shop.example"]);
    let toml = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = true\n\
         [[site]]\nhosts = [\"shop.example\"]\norigin = [{{ url = \"{}\" }}]\n\
         [site.tls.client_auth]\nca = \"{}\"\npass = [\"names\"]\n",
        origin.url(),
        at("ca.pem")
    );
    let proxy = proxy::new(&toml).with(|builder| builder.certs(Fixed::new(server.certificate())));
    let proxy = proxy.run().await;
    let port = proxy.address().port();
    for (own, http) in [(true, "--http1.1"), (true, "--http2"), (false, "--http1.1")] {
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            "--max-time",
            "15",
            http,
        ]);
        command.args(["--cacert", &at("ca.pem")]);
        command.args(["--resolve", &format!("shop.example:{port}:127.0.0.1")]);
        if own {
            command.args(["--cert", &at("alice.pem"), "--key", &at("alice.key")]);
        }
        command.arg(format!("https://shop.example:{port}/"));
        let answer = output(&mut command, "").await;
        match own {
            true => assert_eq!(answer, "dns:alice.example"),
            false => assert!(answer.contains("curl: ("), "{answer}"),
        }
    }
}

#[tokio::test]
async fn connections_are_passed_on_by_their_names() {
    let origin = Origin::new().get("/", |_| reply("behind")).run().await;
    let authority = certs::Authority::new();
    let behind = authority.issue(&["db.example"]);
    let inner = listener(&origin, Fixed::new(behind.certificate())).await;
    let front = authority.issue(&["shop.example"]);
    let toml = format!(
        "[[passthrough]]\nnames = [\"db.example\"]\ncluster = \"inner\"\n\
         [[cluster]]\nname = \"inner\"\norigin = [{{ url = \"https://{}\" }}]\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\ntls = true\n\
         [[site]]\nhosts = [\"*\"]\nroute = [{{ respond = {{ body = \"front\" }} }}]\n",
        inner.address()
    );
    let proxy = proxy::new(&toml).with(|builder| builder.certs(Fixed::new(front.certificate())));
    let proxy = proxy.run().await;
    let root = authority.der();
    for (name, pair, text) in [
        ("db.example", &behind, "behind"),
        ("shop.example", &front, "front"),
    ] {
        let stream = crate::client::shake(proxy.address(), &root, name, &[b"http/1.1"])
            .await
            .unwrap();
        assert_eq!(crate::client::shown(&stream), pair.der);
        let mut client = cirrus_core::testing::Client::to(proxy.address())
            .host(name)
            .over(stream);
        assert_eq!(client.get("/").await.text(), text, "{name}");
    }
}
