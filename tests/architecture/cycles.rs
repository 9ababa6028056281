//! The files of `src/` have no dependency cycle, of whatever length.
//!
//! A file depends on another if it names an item that the other defines, or calls a method that the other implements.
//! A re-export is followed to the definition: it is not itself a dependency, and neither is `mod child;`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::module::{Import, Module};
use crate::tree::{Target, Tree};

/// For each file, the files that it depends on, with the items that it uses of each.
type Dependencies = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn dependencies(tree: &Tree) -> Dependencies {
    let mut dependencies = Dependencies::new();
    for module in tree.modules() {
        let of_module = dependencies.entry(module.file.clone()).or_default();
        let used = named_items(tree, module).into_iter().chain(called_methods(tree, module));
        for (file, item) in used.filter(|(file, _)| *file != module.file) {
            of_module.entry(file).or_default().insert(item);
        }
    }
    dependencies
}

/// The items that a module names, each with the file that defines it.
fn named_items(tree: &Tree, module: &Module) -> BTreeSet<(String, String)> {
    let is_used = |import: &&Import| !import.public || module.uses(&import.name);
    let imports = module.imports.iter().filter(is_used).map(|import| &import.path);
    let targets = imports.chain(&module.paths).filter_map(|path| {
        let is_glob = path.last().is_some_and(|last| last == "*");
        match tree.target(module, path)? {
            Target::Item(home, item) => Some((tree.file(&home).to_owned(), item)),
            // Naming a module is not a dependency; naming an item in it is.
            Target::Module(home) => is_glob.then(|| (tree.file(&home).to_owned(), "*".to_owned())),
        }
    });
    targets.collect()
}

/// The methods that the module's `impl` blocks call on `self` and that another file implements.
fn called_methods(tree: &Tree, module: &Module) -> BTreeSet<(String, String)> {
    let mut called = BTreeSet::new();
    for block in &module.impls {
        let of_type = |module: &Module| tree.target(module, std::slice::from_ref(&block.of));
        let own = module.methods(&block.of);
        for other in tree.modules() {
            let others = other.methods(&block.of);
            let calls =
                block.calls.iter().filter(|call| others.contains(call) && !own.contains(call));
            let calls: Vec<_> = calls.collect();
            if !calls.is_empty() && of_type(module).is_some() && of_type(other) == of_type(module) {
                let methods = calls.iter().map(|call| format!("{}::{call}", block.of));
                called.extend(methods.map(|method| (other.file.clone(), method)));
            }
        }
    }
    called
}

/// Groups of two or more files, each of which depends on all others of its group, directly or not.
fn cycles(dependencies: &Dependencies) -> Vec<BTreeSet<String>> {
    let reachable: BTreeMap<&String, BTreeSet<&String>> =
        dependencies.keys().map(|file| (file, reachable(dependencies, file))).collect();
    let cycle = |file: &String| -> BTreeSet<String> {
        let mutual = reachable[file].iter().filter(|other| reachable[**other].contains(file));
        mutual.map(|other| (*other).clone()).collect()
    };
    let cycles: BTreeSet<_> =
        dependencies.keys().map(cycle).filter(|files| files.len() > 1).collect();
    cycles.into_iter().collect()
}

fn reachable<'a>(dependencies: &'a Dependencies, from: &str) -> BTreeSet<&'a String> {
    let mut seen = BTreeSet::new();
    let mut pending: Vec<&String> = dependencies[from].keys().collect();
    while let Some(file) = pending.pop() {
        if seen.insert(file) {
            pending.extend(dependencies[file].keys());
        }
    }
    seen
}

fn description(cycle: &BTreeSet<String>, dependencies: &Dependencies) -> String {
    let files: Vec<_> = cycle.iter().map(String::as_str).collect();
    let mut text = format!("cycle of {} files: {}\n", files.len(), files.join(", "));
    for file in cycle {
        for (other, items) in dependencies[file].iter().filter(|(other, _)| cycle.contains(*other))
        {
            let items: Vec<_> = items.iter().map(String::as_str).collect();
            writeln!(text, "    {file} -> {other}: {}", items.join(", ")).expect("a string grows");
        }
    }
    text
}

#[test]
fn the_files_of_src_have_no_dependency_cycle() {
    let dependencies = dependencies(&Tree::of_source());
    let cycles = cycles(&dependencies);
    let faults: String = cycles.iter().map(|cycle| description(cycle, &dependencies)).collect();
    assert!(faults.is_empty(), "files of src/ depend on each other:\n{faults}");
}

fn edges(files: &[(&str, &str)]) -> Vec<String> {
    let dependencies = dependencies(&Tree::of(files));
    let edges = dependencies.iter().flat_map(|(file, others)| {
        others.iter().map(move |(other, items)| {
            let items: Vec<_> = items.iter().map(String::as_str).collect();
            format!("{file} -> {other}: {}", items.join(", "))
        })
    });
    edges.collect()
}

#[test]
fn a_re_export_is_a_dependency_on_the_file_that_defines_the_item() {
    let found = edges(&[
        ("lib.rs", "pub mod session; pub mod hub;"),
        ("session.rs", "mod config; mod state; pub use self::config::{Config, Limit as Most};"),
        ("session/config.rs", "pub struct Config; pub struct Limit;"),
        ("session/state.rs", "use super::Config; fn f(_: Config, _: crate::session::Most) {}"),
        ("hub.rs", "use crate::session; fn f(_: session::Config) {}"),
    ]);
    assert_eq!(
        found,
        [
            "hub.rs -> session/config.rs: Config",
            "session/state.rs -> session/config.rs: Config, Limit"
        ]
    );
}

#[test]
fn a_re_export_that_its_own_file_uses_is_a_dependency_of_that_file() {
    let found = edges(&[
        ("lib.rs", "mod a; pub use a::A; fn f() -> A { a::make() }"),
        ("a.rs", "pub struct A; pub fn make() -> A { A }"),
    ]);
    assert_eq!(found, ["lib.rs -> a.rs: A, make"]);
}

#[test]
fn a_call_of_a_method_in_another_file_is_a_dependency() {
    let found = edges(&[
        (
            "lib.rs",
            "mod more; struct A; impl A { fn a(&self) { self.b(); self.c(); } fn c(&self) {} }",
        ),
        ("more.rs", "use super::A; impl A { pub fn b(&self) {} }"),
    ]);
    assert_eq!(found, ["lib.rs -> more.rs: A::b", "more.rs -> lib.rs: A"]);
}

#[test]
fn a_cycle_is_found_across_several_files_and_tests_are_not_part_of_one() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use super::b::*; pub fn a() {}"),
        ("b.rs", "pub fn b() { crate::c::c::<u8>() }"),
        ("c.rs", "pub fn c<T>() { crate::a::a() }"),
        ("d.rs", "use crate::a; pub fn d() { a::a() } #[cfg(test)] mod tests { use super::d; }"),
    ];
    let found = cycles(&dependencies(&Tree::of(&files)));
    assert_eq!(found, [BTreeSet::from(["a.rs", "b.rs", "c.rs"].map(str::to_owned))]);
}
