//! Clients that others have written: curl and OpenSSL.

use std::net::SocketAddr;
use std::process::Stdio;

use cirrus_core::testing::{Origin, RunningOrigin, certs, proxy, reply, scripted};
use cirrus_tls::Fixed;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::{listener, soon};

/// A server that such a client can trust: the file names its authority.
async fn trusted(origin: &RunningOrigin) -> (proxy::Running, tempfile::NamedTempFile) {
    let authority = certs::Authority::new();
    let pair = authority.issue(&["shop.example"]);
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), authority.pem()).expect("a file");
    (listener(origin, Fixed::new(pair.certificate())).await, file)
}

/// Runs a program to its end; what it writes, errors behind.
pub(crate) async fn output(command: &mut Command, input: &str) -> String {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().expect("the program is there");
    let mut stdin = child.stdin.take().expect("its input");
    // A program that ends early says more in its output.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = soon(child.wait_with_output()).await.expect("its output");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn curl(address: SocketAddr, authority: &tempfile::NamedTempFile) -> Command {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "--max-time",
        "15",
        "--cacert",
    ]);
    command.arg(authority.path());
    command
        .arg("--resolve")
        .arg(format!("shop.example:{}:127.0.0.1", address.port()));
    command
}

#[tokio::test]
async fn curl_speaks_both_protocols() {
    let origin = Origin::new()
        .get("/", |asked| {
            reply(format!("{} {}", asked.method, asked.header("host")))
        })
        .get("/echo", |asked| reply(asked.body.unwrap()))
        .get("/large", |_| reply("0123456789".repeat(500_000)))
        .run()
        .await;
    let (proxy, authority) = trusted(&origin).await;
    let url = format!("https://shop.example:{}", proxy.address().port());
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let curl = || {
            let mut command = curl(proxy.address(), &authority);
            command.arg(option);
            command
        };
        let told = ["--write-out", " %{http_version} %{http_code}"];
        let answer = output(curl().args(told).arg(format!("{url}/")), "").await;
        let port = proxy.address().port();
        assert_eq!(answer, format!("GET shop.example:{port} {version} 200"));
        let echo = output(
            curl()
                .args(["--data-binary", "@-"])
                .arg(format!("{url}/echo")),
            "some text\n",
        )
        .await;
        assert_eq!(echo, "some text\n");
        let large = output(curl().arg(format!("{url}/large")), "").await;
        assert!(
            large == "0123456789".repeat(500_000),
            "{} bytes",
            large.len()
        );
        let head = output(
            curl()
                .args(["--head", "--write-out", "%{http_code}"])
                .arg(format!("{url}/large")),
            "",
        )
        .await;
        assert!(
            head.to_lowercase().contains("content-length: 5000000"),
            "{head}"
        );
        let several = output(
            curl().arg(format!("{url}/[1-5]")).args([
                "--output",
                "/dev/null",
                "--write-out",
                "%{http_code} %{num_connects},",
            ]),
            "",
        )
        .await;
        assert_eq!(several, "404 1,404 0,404 0,404 0,404 0,", "one connection");
    }
}

#[tokio::test]
async fn curl_sees_that_a_response_is_broken() {
    let origin = scripted(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf").await;
    let (proxy, authority) = trusted(&origin).await;
    let url = format!("https://shop.example:{}/broken", proxy.address().port());
    // What came before the break may be lost with it, the header too.
    for (option, codes) in [("--http1.1", &[18, 52, 56][..]), ("--http2", &[92])] {
        let mut command = curl(proxy.address(), &authority);
        let told = ["--write-out", " exit=%{exitcode} "];
        let answer = output(command.arg(option).args(told).arg(&url), "").await;
        let mut ends = codes.iter().map(|code| format!("exit={code} "));
        assert!(ends.any(|end| answer.contains(&end)), "{option}: {answer}");
    }
}

#[tokio::test]
async fn openssl_speaks_both_versions_of_tls() {
    let origin = Origin::new()
        .get("/", |_| reply("hello from the origin"))
        .run()
        .await;
    let (proxy, authority) = trusted(&origin).await;
    let request = "GET / HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n";
    for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let mut command = Command::new("openssl");
        command.args([
            "s_client",
            option,
            "-ign_eof",
            "-verify_return_error",
            "-alpn",
            "http/1.1",
        ]);
        command.args([
            "-servername",
            "shop.example",
            "-verify_hostname",
            "shop.example",
        ]);
        command.arg("-connect").arg(proxy.address().to_string());
        command.arg("-CAfile").arg(authority.path());
        let answer = output(&mut command, request).await;
        for wanted in [
            &format!("New, {version}"),
            "Verification: OK",
            "ALPN protocol: http/1.1",
            "hello from the origin",
        ] {
            assert!(
                answer.contains(wanted),
                "{option} without {wanted:?}: {answer}"
            );
        }
    }
}

#[tokio::test]
async fn openssl_is_refused_what_is_too_old_and_whom_nobody_knows() {
    let origin = Origin::new().run().await;
    let (proxy, _authority) = trusted(&origin).await;
    for (options, alert) in [
        (
            &[
                "-tls1_1",
                "-cipher",
                "ALL@SECLEVEL=0",
                "-servername",
                "shop.example",
            ][..],
            "alert",
        ),
        (&["-servername", "other.example"], "unrecognized name"),
    ] {
        let mut command = Command::new("openssl");
        command
            .arg("s_client")
            .args(options)
            .arg("-connect")
            .arg(proxy.address().to_string());
        let answer = output(&mut command, "").await;
        assert!(answer.contains(alert), "{options:?}: {answer}");
    }
}
