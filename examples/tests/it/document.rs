//! What the documents show is what the examples are.

use std::path::Path;

/// Every block of Rust in a document stands in one of the examples, perhaps with more lines between its own.
fn is_in_examples(document: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let examples: Vec<String> = std::fs::read_dir(root.join("examples"))
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let document = std::fs::read_to_string(root.join("..").join(document)).unwrap();
    let blocks = document.split("\n```rust\n").skip(1);
    for block in blocks.filter_map(|rest| rest.split("\n```").next()) {
        assert!(
            examples.iter().any(|example| has_lines(example, block)),
            "no example has these lines:\n{block}"
        );
    }
}

fn has_lines(example: &str, block: &str) -> bool {
    let mut lines = example.lines().map(str::trim);
    block
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .all(|wanted| lines.any(|line| line == wanted))
}

#[test]
fn the_book_shows_the_examples() {
    is_in_examples("docs/backends.md");
}

#[test]
fn the_front_page_shows_the_quickstart() {
    is_in_examples("README.md");
}
