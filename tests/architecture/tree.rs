//! All modules of `src/`, and path resolution: which module defines the item that a path names.

use std::collections::BTreeMap;
use std::fs;

use crate::module::{Module, Path};
use crate::source_directory;
use crate::tokens::tokens;

pub struct Tree {
    modules: BTreeMap<Path, Module>,
}

/// The definition that a path resolves to.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Module(Path),
    /// An item, and the module that defines it.
    Item(Path, String),
}

/// The longest chain of re-exports that is followed.
const STEPS_MAX: usize = 16;

impl Tree {
    pub fn of_source() -> Self {
        let mut modules = BTreeMap::new();
        let mut pending = vec![Path::new()];
        while let Some(path) = pending.pop() {
            let file = if path.is_empty() { "lib.rs".into() } else { path.join("/") + ".rs" };
            let source = fs::read_to_string(source_directory().join(&file));
            let source = source.unwrap_or_else(|error| panic!("src/{file}: {error}"));
            let module = Module::read(path.clone(), file, &tokens(&source));
            pending.extend(module.children.iter().map(|child| joined(&path, child)));
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

    /// Resolves a path that `module` uses; `None` if it belongs to another crate.
    pub fn target(&self, module: &Module, path: &[String]) -> Option<Target> {
        self.follow(&module.path, path, false, STEPS_MAX)
    }

    fn follow(
        &self,
        from: &Path,
        path: &[String],
        continues: bool,
        steps: usize,
    ) -> Option<Target> {
        let mut at = from.clone();
        for (index, segment) in path.iter().enumerate() {
            let continues = continues || index + 1 < path.len();
            match segment.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => drop(at.pop()),
                "*" => break,
                name => match self.named(&self.modules[&at], name, continues, steps)? {
                    Target::Module(module) => at = module,
                    item => return Some(item),
                },
            }
        }
        Some(Target::Module(at))
    }

    /// Resolves one name in a module. A module and an item may share a name: a path that continues means the module.
    fn named(&self, module: &Module, name: &str, continues: bool, steps: usize) -> Option<Target> {
        let is_child = module.children.contains(name);
        let child = is_child.then(|| Target::Module(joined(&module.path, name)));
        let is_item = module.definitions.contains(name);
        let item = is_item.then(|| Target::Item(module.path.clone(), name.to_owned()));
        if continues {
            child.or(item).or_else(|| self.imported(module, name, continues, steps))
        } else {
            item.or_else(|| self.imported(module, name, continues, steps)).or(child)
        }
    }

    fn imported(
        &self,
        module: &Module,
        name: &str,
        continues: bool,
        steps: usize,
    ) -> Option<Target> {
        let steps = steps.checked_sub(1)?;
        module.imports.iter().find_map(|import| {
            let mut path = import.path.clone();
            if import.name == "*" {
                path.pop();
                path.push(name.to_owned());
            } else if import.name != name {
                return None;
            }
            self.follow(&module.path, &path, continues, steps)
        })
    }
}

fn joined(path: &Path, child: &str) -> Path {
    path.iter().cloned().chain([child.to_owned()]).collect()
}
