//! No file of `src/` needs another that needs it, by whatever way round.
//!
//! A file needs another if it names an item that is defined there, or calls a method that a type has there. A re-export
//! leads to the definition: it is no need of the file it stands in, and neither is `mod child;`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::module::{Import, Module};
use crate::tree::{Target, Tree};

/// For each file, the files that it needs, and what of them.
type Needs = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn needs(tree: &Tree) -> Needs {
    let mut needs = Needs::new();
    for module in tree.modules() {
        let of_module = needs.entry(module.file.clone()).or_default();
        let named = named(tree, module).into_iter().chain(called(tree, module));
        for (file, item) in named.filter(|(file, _)| *file != module.file) {
            of_module.entry(file).or_default().insert(item);
        }
    }
    needs
}

/// The items that a module names, each with the file that defines it.
fn named(tree: &Tree, module: &Module) -> BTreeSet<(String, String)> {
    let is_need = |import: &&Import| !import.public || module.uses(&import.name);
    let imports = module.imports.iter().filter(is_need).map(|import| &import.path);
    let targets = imports.chain(&module.paths).filter_map(|path| {
        let is_glob = path.last().is_some_and(|last| last == "*");
        match tree.target(module, path)? {
            Target::Item(home, item) => Some((tree.file(&home).to_owned(), item)),
            // To name a module is no need of it: the paths that go on from there are.
            Target::Module(home) => is_glob.then(|| (tree.file(&home).to_owned(), "*".to_owned())),
        }
    });
    targets.collect()
}

/// The methods that a module's types have in other files and call as their own.
fn called(tree: &Tree, module: &Module) -> BTreeSet<(String, String)> {
    let mut called = BTreeSet::new();
    for block in &module.impls {
        let of_type = |module: &Module| tree.target(module, std::slice::from_ref(&block.of));
        let own = module.methods(&block.of);
        for other in tree.modules() {
            let theirs = other.methods(&block.of);
            let calls =
                block.calls.iter().filter(|call| theirs.contains(call) && !own.contains(call));
            let calls: Vec<_> = calls.collect();
            if !calls.is_empty() && of_type(module).is_some() && of_type(other) == of_type(module) {
                let methods = calls.iter().map(|call| format!("{}::{call}", block.of));
                called.extend(methods.map(|method| (other.file.clone(), method)));
            }
        }
    }
    called
}

/// Files that reach each other, in groups of two and more.
fn circles(needs: &Needs) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        needs.keys().map(|file| (file, reached(needs, file))).collect();
    let circle = |file: &String| -> BTreeSet<String> {
        let round = reached[file].iter().filter(|other| reached[**other].contains(file));
        round.map(|other| (*other).clone()).collect()
    };
    let circles: BTreeSet<_> = needs.keys().map(circle).filter(|files| files.len() > 1).collect();
    circles.into_iter().collect()
}

fn reached<'a>(needs: &'a Needs, from: &str) -> BTreeSet<&'a String> {
    let mut seen = BTreeSet::new();
    let mut waiting: Vec<&String> = needs[from].keys().collect();
    while let Some(file) = waiting.pop() {
        if seen.insert(file) {
            waiting.extend(needs[file].keys());
        }
    }
    seen
}

fn described(circle: &BTreeSet<String>, needs: &Needs) -> String {
    let files: Vec<_> = circle.iter().map(String::as_str).collect();
    let mut text = format!("circle of {} files: {}\n", files.len(), files.join(", "));
    for file in circle {
        for (other, items) in needs[file].iter().filter(|(other, _)| circle.contains(*other)) {
            let items: Vec<_> = items.iter().map(String::as_str).collect();
            writeln!(text, "    {file} -> {other}: {}", items.join(", ")).expect("a string grows");
        }
    }
    text
}

#[test]
fn no_file_needs_a_file_that_needs_it() {
    let needs = needs(&Tree::of_source());
    let circles = circles(&needs);
    let faults: String = circles.iter().map(|circle| described(circle, &needs)).collect();
    assert!(faults.is_empty(), "files of src/ need each other:\n{faults}");
}

fn needs_of(files: &[(&str, &str)]) -> Vec<String> {
    let needs = needs(&Tree::of(files));
    let edges = needs.iter().flat_map(|(file, others)| {
        others.iter().map(move |(other, items)| {
            let items: Vec<_> = items.iter().map(String::as_str).collect();
            format!("{file} -> {other}: {}", items.join(", "))
        })
    });
    edges.collect()
}

#[test]
fn a_re_export_leads_to_the_file_that_defines_the_item() {
    let seen = needs_of(&[
        ("lib.rs", "pub mod session; pub mod hub;"),
        ("session.rs", "mod config; mod state; pub use self::config::{Config, Limit as Most};"),
        ("session/config.rs", "pub struct Config; pub struct Limit;"),
        ("session/state.rs", "use super::Config; fn f(_: Config, _: crate::session::Most) {}"),
        ("hub.rs", "use crate::session; fn f(_: session::Config) {}"),
    ]);
    assert_eq!(
        seen,
        [
            "hub.rs -> session/config.rs: Config",
            "session/state.rs -> session/config.rs: Config, Limit"
        ]
    );
}

#[test]
fn a_re_export_that_its_own_file_uses_is_a_need() {
    let seen = needs_of(&[
        ("lib.rs", "mod a; pub use a::A; fn f() -> A { a::make() }"),
        ("a.rs", "pub struct A; pub fn make() -> A { A }"),
    ]);
    assert_eq!(seen, ["lib.rs -> a.rs: A, make"]);
}

#[test]
fn a_method_in_another_file_is_a_need() {
    let seen = needs_of(&[
        (
            "lib.rs",
            "mod more; struct A; impl A { fn a(&self) { self.b(); self.c(); } fn c(&self) {} }",
        ),
        ("more.rs", "use super::A; impl A { pub fn b(&self) {} }"),
    ]);
    assert_eq!(seen, ["lib.rs -> more.rs: A::b", "more.rs -> lib.rs: A"]);
}

#[test]
fn a_circle_is_seen_through_files_between_and_tests_make_none() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use super::b::*; pub fn a() {}"),
        ("b.rs", "pub fn b() { crate::c::c::<u8>() }"),
        ("c.rs", "pub fn c<T>() { crate::a::a() }"),
        ("d.rs", "use crate::a; pub fn d() { a::a() } #[cfg(test)] mod tests { use super::d; }"),
    ];
    let found = circles(&needs(&Tree::of(&files)));
    assert_eq!(found, [BTreeSet::from(["a.rs", "b.rs", "c.rs"].map(str::to_owned))]);
}
