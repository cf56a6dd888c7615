use super::*;

fn after(bytes: &[u8]) -> Result<At, &'static str> {
    let mut machine = Machine::default();
    machine.feed(bytes).map_err(|refused| refused.why)?;
    Ok(machine.at)
}

fn with(lines: &str) -> Result<At, &'static str> {
    after(format!("POST / HTTP/1.1\r\n{lines}\r\n").as_bytes())
}

#[test]
fn a_body_has_one_length() {
    let data = |left| At::Data {
        left,
        is_chunk: false,
    };
    assert_eq!(with(""), Ok(At::Start));
    assert_eq!(with("Content-Length: \t5 \r\n"), Ok(data(5)));
    assert_eq!(with("content-length:0\r\n"), Ok(At::Start));
    assert_eq!(
        with("content-lengths: a\r\ncontent-lengt: b\r\n"),
        Ok(At::Start)
    );
    for value in [
        "",
        "+5",
        "-5",
        "0x5",
        "5 5",
        "5,5",
        "5, 5",
        "18446744073709551616",
    ] {
        let answer = with(&format!("content-length: {value}\r\n"));
        assert_eq!(answer, Err(LENGTH), "{value}");
    }
}

#[test]
fn the_one_coding_is_chunked() {
    let chunk = At::Size { size: 0, digits: 0 };
    assert_eq!(with("Transfer-Encoding: CHUNKED \r\n"), Ok(chunk));
    for value in [
        "",
        "chunk",
        "chunkedd",
        "gzip, chunked",
        "chunked, chunked",
        "chunked;a",
        "\"chunked\"",
    ] {
        let answer = with(&format!("transfer-encoding: {value}\r\n"));
        assert_eq!(answer, Err(CODING), "{value}");
    }
    let (length, coding) = ("content-length: 1\r\n", "transfer-encoding: chunked\r\n");
    assert_eq!(with(&format!("{length}{coding}")), Err(BOTH));
    assert_eq!(with(&format!("{coding}{length}")), Err(BOTH));
}

#[test]
fn chunks_and_trailers_end_where_they_say() {
    let head = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    let body = |body: &str| after(format!("{head}{body}").as_bytes());
    assert_eq!(
        body("A;x=\"y\"\r\n0123456789\r\n0\r\nx: y\r\n\r\n"),
        Ok(At::Start)
    );
    assert_eq!(
        body("ffffffffffffffff\r\n"),
        Ok(At::Data {
            left: u64::MAX,
            is_chunk: true
        })
    );
    for wrong in [
        "\r\n",
        "g",
        "00000000000000000",
        " 5",
        "5 \r\n",
        "5\n",
        "5\rx",
        "1\r\nabc",
        "1\r\na\n",
        "0\r\n\n",
        "0\r\n x",
        "0\r\nx y:",
    ] {
        assert!(body(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn the_first_wrong_byte_is_told_however_the_bytes_come() {
    let stream = b"GET / HTTP/1.1\r\nhost: a\n\r\n";
    assert_eq!(Machine::default().feed(stream).unwrap_err().at, 23);
    let mut machine = Machine::default();
    let at = stream
        .iter()
        .position(|byte| machine.feed(&[*byte]).is_err());
    assert_eq!(at, Some(23));
}

#[test]
fn a_request_for_an_upgrade_is_the_last_that_is_read() {
    let head = b"GET / HTTP/1.1\r\nupgrade: x\r\n\r\n";
    let stream = [&head[..], b"\0\0"].concat();
    assert_eq!(Machine::default().feed(&stream), Ok(Some(head.len())));
    let old = b"GET / HTTP/1.0\r\nupgrade: x\r\n\r\n";
    assert_eq!(Machine::default().feed(old), Ok(None));
}
