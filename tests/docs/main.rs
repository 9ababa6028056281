//! Pages and files that are generated from the code, and the shape of the pages that people write.

mod names;
mod pages;
mod records;
mod references;

use std::fs;
use std::path::{Path, PathBuf};

use tidegate::close::Close;
use tidegate::config::{Config, Sources};
use tidegate::protocol::Format;

/// Of a file in the repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn the_production_example_is_a_valid_configuration_without_the_demo() {
    let sources = Sources {
        file: Some(path("config/production.toml")),
        environment: vec![("TIDEGATE__INTERNAL__API_KEY".into(), "0123456789abcdef".into())],
        ..Sources::default()
    };
    let config = Config::load(&sources).expect("the production example is valid");
    assert!(!config.demo, "no demo page in production");
    assert!(!config.server.listen.ip().is_loopback());
}

#[test]
fn the_close_codes_page_names_every_close_code() {
    let page = fs::read_to_string(path("docs/protocol/close-codes.md")).expect("the page is there");
    for close in Close::EACH {
        // A close frame's payload begins with its code.
        let frame = Format::Json.close(close).expect("a close has a reason");
        if let Some([high, low]) = frame.get(2..4) {
            let code = u16::from_be_bytes([*high, *low]);
            assert!(
                page.contains(&code.to_string()),
                "docs/protocol/close-codes.md does not name {code}"
            );
        }
    }
}

/// Texts on the first screens of README.md, in this order.
const README_LEADS_WITH: [&str; 8] = [
    "# Tidegate",
    "prefers-color-scheme: dark",
    "make run",
    "make test",
    "A fresh machine needs",
    "docs/images/demo.webp",
    "## Five minutes",
    "make bench",
];

#[test]
fn the_readme_leads_with_its_purpose_the_two_commands_and_what_they_need() {
    let readme = fs::read_to_string(path("README.md")).expect("README.md is there");
    let places = README_LEADS_WITH
        .map(|text| readme.find(text).unwrap_or_else(|| panic!("README.md does not have {text}")));
    assert!(places.is_sorted(), "README.md has these in another order: {README_LEADS_WITH:?}");
}
