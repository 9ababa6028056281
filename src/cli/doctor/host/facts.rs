//! Limits and settings of the system. On Linux from `/proc` and control groups.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use crate::memory::allowed_bytes;
use crate::transport::open_file_limit;

/// None, or the default: unknown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The most files this process may have open.
    pub open_files: usize,
    /// The most open files that any limit may allow a process.
    pub nr_open: Option<usize>,
    /// Files that all processes have open, and the limit.
    pub all_files: Option<(usize, usize)>,
    pub somaxconn: Option<usize>,
    pub syn_backlog: Option<usize>,
    pub has_syn_cookies: Option<bool>,
    /// First and last port for outgoing connections.
    pub ports: Option<(u16, u16)>,
    /// Ports excluded from that range, as the system lists them.
    pub reserved_ports: String,
    /// Tracked connections, and the limit.
    pub tracked: Option<(usize, usize)>,
    /// Bytes of all TCP buffers at which the kernel starts to save, and the limit.
    pub tcp_bytes: Option<(usize, usize)>,
    /// The most bytes that the kernel queues for one slow reader.
    pub send_buffer_bytes: Option<usize>,
    /// Bytes of memory that the process may use. 0: unknown.
    pub memory: usize,
    /// The number of processors, possibly a fraction.
    pub processors: Option<f64>,
}

impl Facts {
    pub fn read() -> Self {
        let memory = allowed_bytes();
        Self {
            open_files: open_file_limit(),
            memory: if memory == usize::MAX { 0 } else { memory },
            processors: processors(),
            ..Self::of(Path::new("/proc/sys"), rustix::param::page_size())
        }
    }

    /// The facts that are kernel settings.
    fn of(root: &Path, page_bytes: usize) -> Self {
        let text = |name: &str| fs::read_to_string(root.join(name)).unwrap_or_default();
        let one = |name: &str| number::<usize>(&text(name), 0);
        let two = |name: &str, first, second| {
            let text = text(name);
            Some((number::<usize>(&text, first)?, number::<usize>(&text, second)?))
        };
        let tracked = one("net/netfilter/nf_conntrack_count");
        let ports = text("net/ipv4/ip_local_port_range");
        Self {
            nr_open: one("fs/nr_open"),
            all_files: two("fs/file-nr", 0, 2),
            somaxconn: one("net/core/somaxconn"),
            syn_backlog: one("net/ipv4/tcp_max_syn_backlog"),
            has_syn_cookies: one("net/ipv4/tcp_syncookies").map(|on| on > 0),
            ports: number(&ports, 0).zip(number(&ports, 1)),
            reserved_ports: text("net/ipv4/ip_local_reserved_ports").trim().to_owned(),
            tracked: tracked.zip(one("net/netfilter/nf_conntrack_max")),
            tcp_bytes: two("net/ipv4/tcp_mem", 1, 2).map(|(pressure, max)| {
                (pressure.saturating_mul(page_bytes), max.saturating_mul(page_bytes))
            }),
            send_buffer_bytes: number(&text("net/ipv4/tcp_wmem"), 2),
            ..Self::default()
        }
    }
}

/// Parses the `at`th word, counted from 0.
fn number<T: FromStr>(text: &str, at: usize) -> Option<T> {
    text.split_whitespace().nth(at)?.parse().ok()
}

/// The processors this process may run on, or the smaller share its control groups allow.
fn processors() -> Option<f64> {
    let all = std::thread::available_parallelism().ok()?.get() as f64;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(all.min(quota(Path::new("/sys/fs/cgroup"), &groups).unwrap_or(all)))
}

/// The smallest quota of the process's control groups and their ancestors. `groups`: the lines of
/// `/proc/self/cgroup`.
fn quota(mount: &Path, groups: &str) -> Option<f64> {
    let quotas = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        // In a container the path may be the host's; the mount itself is then the group.
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        let share = |quota: &str, period: &str| {
            let quota: f64 = number(quota, 0)?;
            Some(quota / number::<f64>(period, 0)?).filter(|share| *share > 0.0)
        };
        let shares: Vec<f64> = match controllers {
            "" => groups
                .filter_map(|group| {
                    let max = text(mount.join(group).join("cpu.max"));
                    let (quota, period) = max.split_once(' ')?;
                    share(quota, period)
                })
                .collect(),
            _ if controllers.split(',').any(|it| it == "cpu") => groups
                .filter_map(|group| {
                    let group = mount.join("cpu").join(group);
                    let quota = text(group.join("cpu.cfs_quota_us"));
                    share(&quota, &text(group.join("cpu.cfs_period_us")))
                })
                .collect(),
            _ => return None,
        };
        shares.into_iter().reduce(f64::min)
    });
    quotas.reduce(f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let file = root.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    #[test]
    fn facts_of_this_system_are_read() {
        let facts = Facts::read();
        assert!(facts.open_files > 64 && facts.memory > 1 << 20, "{facts:?}");
        assert!(facts.somaxconn.is_some() && facts.ports.is_some(), "{facts:?}");
        assert!(facts.processors.is_some_and(|it| it > 0.0), "{facts:?}");
    }

    #[test]
    fn kernel_settings_are_read_and_missing_ones_are_unknown() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Facts::of(root.path(), 4096), Facts::default());
        write(root.path(), "fs/file-nr", "809\t0\t2466170\n");
        write(root.path(), "net/ipv4/ip_local_port_range", "32768\t60999\n");
        write(root.path(), "net/ipv4/tcp_mem", "1 2 3\n");
        write(root.path(), "net/core/somaxconn", "nonsense\n");
        let facts = Facts::of(root.path(), 4096);
        assert_eq!(facts.all_files, Some((809, 2_466_170)));
        assert_eq!(facts.ports, Some((32_768, 60_999)));
        assert_eq!(facts.tcp_bytes, Some((8192, 12_288)));
        assert_eq!((facts.somaxconn, facts.tracked), (None, None));
    }

    #[test]
    fn the_smallest_cpu_quota_of_a_group_and_its_ancestors_applies() {
        let root = tempfile::tempdir().unwrap();
        let of = |groups| quota(root.path(), groups);
        write(root.path(), "pod/app/cpu.max", "max 100000\n");
        assert_eq!(of("0::/pod/app\n"), None);
        write(root.path(), "pod/cpu.max", "50000 100000\n");
        assert_eq!(of("0::/pod/app\n"), Some(0.5));
        write(root.path(), "cpu/old/cpu.cfs_quota_us", "-1\n");
        write(root.path(), "cpu/old/cpu.cfs_period_us", "100000\n");
        assert_eq!(of("1:cpu,cpuacct:/old\n"), None);
        write(root.path(), "cpu/old/cpu.cfs_quota_us", "150000\n");
        assert_eq!(of("1:cpu,cpuacct:/old\n0::/none\n"), Some(1.5));
    }
}
