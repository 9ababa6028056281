//! The memory that the system allows the process, and how much it uses. On Linux from `/proc` and control groups, which
//! the kernel serves from memory: reading them never blocks, so runtime threads may do it.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that the process may use: the limit of its control group, or the machine's memory. `usize::MAX`:
/// unknown.
pub fn bytes() -> usize {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| kibibytes(&text, "MemTotal:"));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = group_bytes(Path::new("/sys/fs/cgroup"), &groups);
    machine.into_iter().chain(group).min().unwrap_or(usize::MAX)
}

/// Bytes of physical memory that the process uses, including its share of files.
pub fn resident_bytes() -> Option<usize> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// The value of a line such as `VmRSS:   1234 kB`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<usize> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim_end().parse::<usize>().ok()?.checked_mul(1024)
}

/// The smallest limit of the process's control groups and their ancestors. `groups`: the lines of
/// `/proc/self/cgroup`, such as `0::/app` (version 2) or `4:memory:/app` (version 1).
fn group_bytes(mount: &Path, groups: &str) -> Option<usize> {
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let (mounts, file) = match controllers {
            "" => (vec![mount.to_owned(), mount.join("unified")], "memory.max"),
            _ if controllers.split(',').any(|it| it == "memory") => {
                (vec![mount.join("memory")], "memory.limit_in_bytes")
            }
            _ => return None,
        };
        // In a container, the path may be the host's; the mount itself is then the group.
        let path = Path::new(path.trim_start_matches('/'));
        let above = |mount: PathBuf| {
            path.ancestors().map(move |group| mount.join(group).join(file)).collect::<Vec<_>>()
        };
        let files = mounts.into_iter().flat_map(above);
        files.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse::<usize>().ok()).min()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_uses_less_memory_than_it_may() {
        let used = resident_bytes().unwrap();
        assert!(used > 1 << 20 && used < bytes(), "{used} of {}", bytes());
    }

    #[test]
    fn the_smallest_memory_limit_of_a_group_and_its_ancestors_applies() {
        let mount = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let file = mount.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        let of = |groups| group_bytes(mount.path(), groups);
        assert_eq!(of("0::/pod/app\n"), None);
        write("pod/app/memory.max", "max\n");
        assert_eq!(of("0::/pod/app\n"), None);
        write("pod/memory.max", "1000000\n");
        assert_eq!(of("0::/pod/app\n"), Some(1_000_000));
        write("pod/app/memory.max", "500000\n");
        assert_eq!(of("0::/pod/app\n"), Some(500_000));
        write("memory/old/memory.limit_in_bytes", "400000\n");
        assert_eq!(of("5:cpu,memory:/old\n1:cpu:/\n0::/pod/app\n"), Some(400_000));
        assert_eq!(of("3:cpu:/old\n"), None);
        // A path of the host, as seen within a container.
        write("memory.max", "300000\n");
        assert_eq!(of("0::/not/here\n"), Some(300_000));
    }
}
