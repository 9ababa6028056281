//! All modules of `src/`, and where what they name is defined.

use std::collections::BTreeMap;
use std::fs;

use crate::module::{Module, Path};
use crate::source_directory;
use crate::tokens::tokens;

pub struct Tree {
    modules: BTreeMap<Path, Module>,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Module(Path),
    /// An item, and the module that defines it.
    Item(Path, String),
}

/// Re-exports of re-exports, at most.
const STEPS_MAX: usize = 16;

impl Tree {
    pub fn of_source() -> Self {
        let mut modules = BTreeMap::new();
        let mut waiting = vec![Path::new()];
        while let Some(path) = waiting.pop() {
            let file = if path.is_empty() { "lib.rs".into() } else { path.join("/") + ".rs" };
            let source = fs::read_to_string(source_directory().join(&file));
            let source = source.unwrap_or_else(|error| panic!("src/{file}: {error}"));
            let module = Module::read(path.clone(), file, &tokens(&source));
            waiting.extend(module.children.iter().map(|child| joined(&path, child)));
            modules.insert(path, module);
        }
        Self { modules }
    }

    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        let module = |&(file, source): &(&str, &str)| {
            let path: Path = match file {
                "lib.rs" => Path::new(),
                _ => file.trim_end_matches(".rs").split('/').map(str::to_owned).collect(),
            };
            (path.clone(), Module::read(path, file.to_owned(), &tokens(source)))
        };
        Self { modules: files.iter().map(module).collect() }
    }

    pub fn modules(&self) -> impl Iterator<Item = &Module> {
        self.modules.values()
    }

    pub fn file(&self, path: &Path) -> &str {
        &self.modules[path].file
    }

    /// Where the path leads that stands in `module`; nothing if that is another crate's.
    pub fn target(&self, module: &Module, path: &[String]) -> Option<Target> {
        self.follow(&module.path, path, false, STEPS_MAX)
    }

    fn follow(&self, from: &Path, path: &[String], goes_on: bool, steps: usize) -> Option<Target> {
        let mut at = from.clone();
        for (index, segment) in path.iter().enumerate() {
            let goes_on = goes_on || index + 1 < path.len();
            match segment.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => drop(at.pop()),
                "*" => break,
                name => match self.named(&self.modules[&at], name, goes_on, steps)? {
                    Target::Module(module) => at = module,
                    item => return Some(item),
                },
            }
        }
        Some(Target::Module(at))
    }

    /// What a module calls by this name. A name may be a module's and an item's: a path that goes on means the module.
    fn named(&self, module: &Module, name: &str, goes_on: bool, steps: usize) -> Option<Target> {
        let is_child = module.children.contains(name);
        let child = is_child.then(|| Target::Module(joined(&module.path, name)));
        let is_item = module.definitions.contains(name);
        let item = is_item.then(|| Target::Item(module.path.clone(), name.to_owned()));
        if goes_on {
            child.or(item).or_else(|| self.imported(module, name, goes_on, steps))
        } else {
            item.or_else(|| self.imported(module, name, goes_on, steps)).or(child)
        }
    }

    fn imported(&self, module: &Module, name: &str, goes_on: bool, steps: usize) -> Option<Target> {
        let steps = steps.checked_sub(1)?;
        module.imports.iter().find_map(|import| {
            let mut path = import.path.clone();
            if import.name == "*" {
                path.pop();
                path.push(name.to_owned());
            } else if import.name != name {
                return None;
            }
            self.follow(&module.path, &path, goes_on, steps)
        })
    }
}

fn joined(path: &Path, child: &str) -> Path {
    path.iter().cloned().chain([child.to_owned()]).collect()
}
