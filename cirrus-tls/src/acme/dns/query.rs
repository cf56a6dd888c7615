//! Questions to name servers, over UDP and, for long answers, TCP.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use cirrus_core::BoxError;
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::{LIMIT, Servers};

/// A name as the wire has it.
pub(super) fn name(text: &str) -> Result<Name, BoxError> {
    let mut name = Name::from_ascii(text)?;
    name.set_fqdn(true);
    Ok(name)
}

/// Asks one server; no such name is an answer without records.
pub(super) async fn ask(
    server: SocketAddr,
    name: &Name,
    kind: RecordType,
) -> Result<Message, BoxError> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.clone(), kind));
    let bytes = message.to_vec()?;
    let mut answer = Message::from_vec(&by_udp(server, &bytes).await?)?;
    if answer.metadata.truncation {
        answer = Message::from_vec(&by_tcp(server, &bytes).await?)?;
    }
    if answer.metadata.id != message.metadata.id {
        return Err("an answer to another question".into());
    }
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(answer),
        code => Err(format!("{server} answers {code}").into()),
    }
}

/// Asks one after the other, until one answers.
pub(super) async fn ask_any(
    servers: &Servers,
    name: &Name,
    kind: RecordType,
) -> Result<Message, BoxError> {
    let mut last: BoxError = "there is no name server to ask".into();
    for server in &servers.0 {
        match ask(*server, name, kind).await {
            Ok(answer) => return Ok(answer),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The values of a TXT record that `server` has.
pub(super) async fn texts(server: SocketAddr, name: &Name) -> Result<Vec<String>, BoxError> {
    let answer = ask(server, name, RecordType::TXT).await?;
    let texts = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
            _ => None,
        });
    Ok(texts.collect())
}

/// Sends a message that needs the answer to arrive.
pub(super) async fn by_tcp(server: SocketAddr, message: &[u8]) -> Result<Vec<u8>, BoxError> {
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        let length = u16::try_from(message.len()).map_err(io::Error::other)?;
        stream
            .write_all(&[&length.to_be_bytes(), message].concat())
            .await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    match timeout(LIMIT, exchange).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(format!("{server} does not answer").into()),
    }
}

async fn by_udp(server: SocketAddr, message: &[u8]) -> Result<Vec<u8>, BoxError> {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let exchange = async {
        let socket = UdpSocket::bind(local).await?;
        socket.connect(server).await?;
        socket.send(message).await?;
        let mut answer = vec![0; 4096];
        let length = socket.recv(&mut answer).await?;
        answer.truncate(length);
        Ok::<_, io::Error>(answer)
    };
    match timeout(LIMIT, exchange).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(format!("{server} does not answer").into()),
    }
}
