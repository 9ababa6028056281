//! Code that differs between protocols is in `protocol/`: no other module names a protocol, except the route table.

use std::collections::BTreeSet;

use crate::module::{Module, Path};
use crate::tree::{Target, Tree};
use tidegate::protocol::Format;

/// For each protocol, the name of its module, which is also its metric label, and its enum variant.
fn protocols() -> impl Iterator<Item = (&'static str, String)> {
    Format::EACH.into_iter().map(|format| (format.label(), format!("{format:?}")))
}

/// Enums of these names, in any module, have a variant for each protocol, and so have all enums of the module `protocol`.
const ENUMS: &[&str] = &["Encoding", "Protocol"];

/// The route table: it maps paths and subprotocols to protocols. Files in its folder read the requests.
const ROUTES: &str = "transport/routes.rs";
const ROUTES_FOLDER: &str = "transport/routes/";

/// The paths in the module that name a protocol.
fn named(tree: &Tree, module: &Module) -> BTreeSet<String> {
    let imports = module.imports.iter().map(|import| &import.path);
    let concrete = imports.chain(&module.paths).filter(|path| is_concrete(tree, module, path));
    concrete.map(|path| path.join("::")).collect()
}

fn is_concrete(tree: &Tree, module: &Module, path: &Path) -> bool {
    let variant = path.windows(2).any(|pair| {
        let is_variant = protocols().any(|(_, variant)| pair[1] == variant);
        is_variant && is_enum(tree, module, &pair[0])
    });
    let home = match tree.target(module, path) {
        Some(Target::Item(home, _) | Target::Module(home)) => home,
        None => return variant,
    };
    let in_protocol = home.first().is_some_and(|name| name == "protocol")
        && home.get(1).is_some_and(|name| protocols().any(|(protocol, _)| name == protocol));
    variant || in_protocol
}

/// Whether the word names an enum of protocols, also under an alias from `use … as`.
fn is_enum(tree: &Tree, module: &Module, word: &String) -> bool {
    if word == "Self" {
        return ENUMS.iter().any(|name| module.definitions.contains(*name));
    }
    match tree.target(module, std::slice::from_ref(word)) {
        Some(Target::Item(home, item)) => {
            ENUMS.contains(&item.as_str()) || home.first().is_some_and(|name| name == "protocol")
        }
        _ => ENUMS.contains(&word.as_str()),
    }
}

fn may_name(file: &str) -> bool {
    file == "protocol.rs"
        || file.starts_with("protocol/")
        || file == ROUTES
        || file.starts_with(ROUTES_FOLDER)
}

#[test]
fn only_the_protocol_modules_and_the_route_table_name_a_protocol() {
    let tree = Tree::of_source();
    let mut faults = Vec::new();
    for module in tree.modules().filter(|module| !may_name(&module.file)) {
        let named = named(&tree, module);
        if !named.is_empty() {
            faults.push(format!("{} names {named:?}", module.file));
        }
    }
    assert!(
        faults.is_empty(),
        "a protocol is named outside protocol/ and {ROUTES}:\n{}",
        faults.join("\n")
    );
}

#[test]
fn a_protocol_is_found_under_every_alias() {
    let tree = Tree::of(&[
        ("lib.rs", "pub mod hub; pub mod protocol; pub mod log;"),
        ("protocol.rs", "pub mod json; pub enum Protocol { Json, Plain } pub use json::Reply;"),
        ("protocol/json.rs", "pub struct Reply; pub fn push() {}"),
        (
            "hub.rs",
            "use crate::protocol::{self, Protocol as P, Protocol, json, Reply};
             fn f() { P::Plain; protocol::Protocol::Json; Protocol::of(); json::push(); }",
        ),
        (
            "log.rs",
            "enum Lines { Json } impl Lines { fn f() { Self::Json; Lines::Json; serde::json::to(); } }",
        ),
    ]);
    let of_file = |file: &str| {
        let module =
            tree.modules().find(|module| module.file == file).expect("the file is in the tree");
        named(&tree, module).into_iter().collect::<Vec<_>>()
    };
    assert_eq!(
        of_file("hub.rs"),
        [
            "P::Plain",
            "crate::protocol::Reply",
            "crate::protocol::json",
            "json::push",
            "protocol::Protocol::Json"
        ]
    );
    assert_eq!(of_file("log.rs"), [""; 0]);
}
