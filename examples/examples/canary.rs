//! A new version gets a share of the users, which grows while traffic flows: whoever types a number from 0 to 100 puts it
//! in force. A user, told by a cookie, always gets the same version, and nobody goes back when the share grows; testers
//! ask for the new one by a header.
//!
//! Arguments: the old version's URL, the new one's, the address to listen on. It ends with its input. With two of them on
//! the ports 3000 and 3001:
//!
//! ```sh
//! cargo run -p cirrus-examples --example canary -- http://127.0.0.1:3000 http://127.0.0.1:3001 127.0.0.1:8080
//! curl -H 'Cookie: user=anna' http://127.0.0.1:8080/
//! curl -H 'X-Version: new' http://127.0.0.1:8080/
//! ```

use cirrus_core::{BoxError, Server};
use cirrus_discovery::Fixed;
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    cirrus_examples::log();
    let [old, new, listen] = cirrus_examples::arguments([
        "http://127.0.0.1:3000",
        "http://127.0.0.1:3001",
        "127.0.0.1:8080",
    ]);
    let config = move |share: u8| {
        let rest = 100 - share;
        format!(
            r#"
            listen = [{{ address = "{listen}" }}]
            cluster = [
                {{ name = "old", origin = [{{ url = "{old}" }}] }},
                {{ name = "new", origin = [{{ url = "{new}" }}] }},
            ]

            [[site]]
            hosts = ["*"]

            [[site.route]]
            headers = {{ x-version = "new" }}
            cluster = "new"

            [[site.route]]
            split = [{{ cluster = "old", weight = {rest} }}, {{ cluster = "new", weight = {share} }}]
            split_by = "cookie:user"
            "#
        )
    };
    let source = Fixed::toml(&config(5))?;
    Server::builder()
        .config(source.clone())
        .run(follow_what_is_typed(source, config))
        .await?;
    Ok(())
}

async fn follow_what_is_typed(source: Fixed, config: impl Fn(u8) -> String) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match line.trim().parse() {
            Ok(share @ 0..=100) => match source.replace_toml(&config(share)) {
                Ok(()) => tracing::info!(share, "the new version's share"),
                Err(faults) => tracing::error!("{faults}"),
            },
            _ => tracing::error!("type a number from 0 to 100"),
        }
    }
}
