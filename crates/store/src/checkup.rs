//! Whether a role's data folder can be worked with: rights, room, and a clock that has not gone back.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use overread_domain::{Check, Side};

use crate::objects::free_bytes;

/// How far in the future a file's time may lie before the clock is suspected.
const SKEW: Duration = Duration::from_secs(60);

/// Examines the data folder of the role whose section of the configuration is `section`; `reserve` are the bytes that it keeps free.
pub fn folder(section: &str, data: &Path, reserve: u64) -> Vec<Check> {
    let mut checks = vec![writable(section, data)];
    checks.extend(room(section, data, reserve));
    checks.push(clock(section, data));
    checks
}

/// The folder, or what there is on the way to it.
fn existing(data: &Path) -> &Path {
    data.ancestors().find(|p| p.is_dir()).unwrap_or(Path::new("."))
}

fn writable(section: &str, data: &Path) -> Check {
    let (name, key) = (format!("{section}: data folder"), format!("{section}.data"));
    if data.exists() && !data.is_dir() {
        return Check::failed(name, format!("{} is no folder", data.display()), Side::Ours)
            .at(key)
            .change("name a folder");
    }
    let place = existing(data);
    let written = tempfile::tempfile_in(place).and_then(|mut file| {
        file.write_all(b"overread")?;
        file.sync_all()
    });
    match written {
        Ok(()) if data.is_dir() => {
            Check::ok(name, format!("{} can be written and synced", data.display())).at(key)
        }
        Ok(()) => Check::ok(name, format!("{} will be made at the first start", data.display())).at(key),
        Err(e) => Check::failed(name, format!("{} cannot be written: {e}", place.display()), Side::Ours)
            .at(key)
            .change("give the user that runs this process the right to write there, or name another folder"),
    }
}

fn room(section: &str, data: &Path, reserve: u64) -> Option<Check> {
    let (name, key) = (format!("{section}: disk"), format!("{section}.limits.reserve_bytes"));
    let free = free_bytes(existing(data))?;
    let found = format!("{} are free, {} are kept free", gibibytes(free), gibibytes(reserve));
    let check = if free < reserve {
        Check::failed(name, format!("{found}: every object is refused (C-STORE A700, STOW 507)"), Side::Ours)
            .change("make room on the disk, name a folder on a larger one, or lower the reserve")
    } else if free < reserve.saturating_mul(3) {
        Check::warning(name, found, Side::Ours).change("make room soon")
    } else {
        Check::ok(name, found)
    };
    Some(check.at(key))
}

fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

/// A database that was written in the future says that the clock went back since. Dates in reports would be wrong, and jobs would wait.
fn clock(section: &str, data: &Path) -> Check {
    let name = format!("{section}: clock");
    let now = SystemTime::now();
    let written = std::fs::read_dir(data)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains(".db"))
        .filter_map(|entry| entry.metadata().and_then(|m| m.modified()).ok())
        .max();
    match written.and_then(|written| written.duration_since(now).ok()) {
        Some(ahead) if ahead > SKEW => Check::failed(
            name,
            format!(
                "the database was last written {} s in the future: this machine's clock went back",
                ahead.as_secs()
            ),
            Side::Ours,
        )
        .change("set the clock and keep it by NTP (chrony, systemd-timesyncd)"),
        _ => Check::ok(name, "no file was written in the future"),
    }
}

#[cfg(test)]
mod tests {
    use overread_domain::Verdict;

    use super::*;

    #[test]
    fn room_and_clock_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("edge");
        assert!(folder_verdicts(&data, 0).iter().all(|v| *v == Verdict::Ok));
        assert_eq!(folder_verdicts(&data, u64::MAX)[1], Verdict::Failed);
        std::fs::create_dir(&data).unwrap();
        let file = std::fs::File::create(data.join("edge.db-wal")).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(7200)).unwrap();
        assert_eq!(folder_verdicts(&data, 0)[2], Verdict::Failed);
    }

    fn folder_verdicts(data: &Path, reserve: u64) -> Vec<Verdict> {
        folder("edge", data, reserve).into_iter().map(|c| c.verdict).collect()
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("edge");
        std::fs::write(&data, b"").unwrap();
        // What is there is a file: the folder above it can be written, but the role would fail.
        let check = &super::folder("edge", &data, 0)[0];
        assert_eq!(check.verdict, Verdict::Failed);
    }
}
