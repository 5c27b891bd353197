//! Sends synthetic CT slices as fast as a peer takes them: `send_flood HOST PORT CALLED_AE [--associations N]
//! [--count M] [--size 512x512] [--calling AE]` prints one JSON object with slices a second, MB/s, latencies.
//!
//! One study and one series an association. The pixel data is made once and shared, UIDs alone are patched, and
//! nothing is copied on the way to the socket, so that the sender is not what is measured. With `--receive PORT`
//! it is the counterpart instead: an acceptor that receives to a folder, counts and forgets.
#![allow(clippy::print_stdout, reason = "the result is its output")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dicom_dictionary_std::uids;
use overread_dimse::{
    AeTitle, Caller, CommitmentReport, Peer, ReceivedObject, Receiver, Scp, ScpConfig, Sender, StoreStatus,
};
use overread_domain::Uid;

type Failure = Box<dyn std::error::Error + Send + Sync>;

struct Flood {
    peer: Peer,
    associations: usize,
    count: usize,
    rows: u16,
    columns: u16,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1)).map(String::as_str)
    };
    if let Some(port) = option("--receive") {
        return receive(port.parse()?);
    }
    let [host, port, called, ..] = arguments.as_slice() else {
        return Err(
            "usage: send_flood HOST PORT CALLED_AE [--associations N] [--count M] [--size 512x512]".into()
        );
    };
    let (rows, columns) =
        option("--size").unwrap_or("512x512").split_once('x').ok_or("--size is ROWSxCOLUMNS")?;
    let flood = Flood {
        peer: Peer {
            ae_title: AeTitle::parse(called)?,
            our_ae_title: AeTitle::parse(option("--calling").unwrap_or("FLOOD"))?,
            host: host.clone(),
            port: port.parse()?,
            tls: None,
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(120),
        },
        associations: option("--associations").unwrap_or("1").parse::<usize>()?.max(1),
        count: option("--count").unwrap_or("1000").parse()?,
        rows: rows.parse()?,
        columns: columns.parse()?,
    };
    println!("{}", flood.run()?);
    Ok(())
}

impl Flood {
    fn run(&self) -> Result<serde_json::Value, Failure> {
        let pixels = noise(self.rows, self.columns);
        let run =
            u64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_micros())?;
        let begin = Instant::now();
        let mut latencies = std::thread::scope(|scope| -> Result<Vec<Duration>, Failure> {
            let threads: Vec<_> = (0..self.associations)
                .map(|association| {
                    let count = self.count / self.associations
                        + usize::from(association < self.count % self.associations);
                    let pixels = &pixels;
                    scope.spawn(move || self.associate(run, association, count, pixels))
                })
                .collect();
            let mut all = Vec::new();
            for thread in threads {
                all.extend(thread.join().map_err(|_| "a sending thread failed")??);
            }
            Ok(all)
        })?;
        let seconds = begin.elapsed().as_secs_f64();
        latencies.sort_unstable();
        let at = |part: f64| {
            let index = ((latencies.len().saturating_sub(1)) as f64 * part).round() as usize;
            latencies.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
        };
        let megabytes = (pixels.len() * latencies.len()) as f64 / 1e6;
        Ok(serde_json::json!({
            "associations": self.associations,
            "slices": latencies.len(),
            "seconds": seconds,
            "slices_per_second": latencies.len() as f64 / seconds,
            "megabytes_per_second": megabytes / seconds,
            "latency_ms": { "p50": at(0.5), "p99": at(0.99) },
        }))
    }

    fn associate(
        &self,
        run: u64,
        association: usize,
        count: usize,
        pixels: &[u8],
    ) -> Result<Vec<Duration>, Failure> {
        let class = Uid::parse(uids::CT_IMAGE_STORAGE)?;
        let syntax = uids::EXPLICIT_VR_LITTLE_ENDIAN;
        let mut sender = Sender::connect(&self.peer, &[(class.clone(), vec![syntax.to_owned()])])?;
        let mut latencies = Vec::with_capacity(count);
        for number in 1..=count {
            let root = format!("2.25.{run}.{}", association + 1);
            let instance = Uid::parse(&format!("{root}.1.{number}"))?;
            let head = self.head(&root, &instance, number);
            let begin = Instant::now();
            let status = sender.store_pieces(&class, &instance, syntax, &[&head, pixels])?;
            latencies.push(begin.elapsed());
            if status != 0 {
                return Err(format!("slice {number} was answered with {status:04X}").into());
            }
        }
        sender.release()?;
        Ok(latencies)
    }

    /// All of a CT slice but the pixels (PS3.3 §A.3), explicit VR little endian.
    fn head(&self, root: &str, instance: &Uid, number: usize) -> Vec<u8> {
        let mut set = Vec::with_capacity(1024);
        let mut put = |group: u16, element: u16, vr: &[u8; 2], value: &[u8]| {
            set.extend(group.to_le_bytes());
            set.extend(element.to_le_bytes());
            set.extend(vr);
            let padded = value.len() + value.len() % 2;
            set.extend((padded as u16).to_le_bytes());
            set.extend(value);
            if value.len() % 2 == 1 {
                set.push(if vr == b"UI" { 0 } else { b' ' });
            }
        };
        put(0x0008, 0x0008, b"CS", b"ORIGINAL\\PRIMARY\\AXIAL");
        put(0x0008, 0x0016, b"UI", uids::CT_IMAGE_STORAGE.as_bytes());
        put(0x0008, 0x0018, b"UI", instance.as_str().as_bytes());
        put(0x0008, 0x0020, b"DA", b"20260101");
        put(0x0008, 0x0030, b"TM", b"120000");
        put(0x0008, 0x0050, b"SH", b"");
        put(0x0008, 0x0060, b"CS", b"CT");
        put(0x0008, 0x0070, b"LO", b"Synthetic");
        put(0x0008, 0x0090, b"PN", b"");
        put(0x0010, 0x0010, b"PN", b"Synthetic^Flood");
        put(0x0010, 0x0020, b"LO", root.rsplit('.').next().unwrap_or("1").as_bytes());
        put(0x0010, 0x0030, b"DA", b"");
        put(0x0010, 0x0040, b"CS", b"O");
        put(0x0018, 0x0050, b"DS", b"1");
        put(0x0018, 0x0060, b"DS", b"120");
        put(0x0020, 0x000d, b"UI", root.as_bytes());
        put(0x0020, 0x000e, b"UI", format!("{root}.1").as_bytes());
        put(0x0020, 0x0010, b"SH", b"1");
        put(0x0020, 0x0011, b"IS", b"1");
        put(0x0020, 0x0013, b"IS", number.to_string().as_bytes());
        put(0x0020, 0x0032, b"DS", format!("-175\\-175\\{number}").as_bytes());
        put(0x0020, 0x0037, b"DS", b"1\\0\\0\\0\\1\\0");
        put(0x0020, 0x0052, b"UI", format!("{root}.2").as_bytes());
        put(0x0028, 0x0002, b"US", &1u16.to_le_bytes());
        put(0x0028, 0x0004, b"CS", b"MONOCHROME2");
        put(0x0028, 0x0010, b"US", &self.rows.to_le_bytes());
        put(0x0028, 0x0011, b"US", &self.columns.to_le_bytes());
        put(0x0028, 0x0030, b"DS", b"0.68359375\\0.68359375");
        put(0x0028, 0x0100, b"US", &16u16.to_le_bytes());
        put(0x0028, 0x0101, b"US", &16u16.to_le_bytes());
        put(0x0028, 0x0102, b"US", &15u16.to_le_bytes());
        put(0x0028, 0x0103, b"US", &1u16.to_le_bytes());
        put(0x0028, 0x1052, b"DS", b"0");
        put(0x0028, 0x1053, b"DS", b"1");
        set.extend([0xe0, 0x7f, 0x10, 0x00]);
        set.extend(b"OW\0\0");
        set.extend((u32::from(self.rows) * u32::from(self.columns) * 2).to_le_bytes());
        set
    }
}

/// A body of water in air with the noise of a scan, in Hounsfield units, 16 bit signed.
fn noise(rows: u16, columns: u16) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut pixels = Vec::with_capacity(usize::from(rows) * usize::from(columns) * 2);
    for row in 0..rows {
        for column in 0..columns {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let (y, x) =
                (f64::from(row) / f64::from(rows) - 0.5, f64::from(column) / f64::from(columns) - 0.5);
            let tissue = if x.hypot(y) < 0.4 { 40 } else { -1000 };
            let grain = i16::try_from(state % 41).unwrap_or(0) - 20;
            pixels.extend((tissue + grain).to_le_bytes());
        }
    }
    pixels
}

/// Receives to a folder, and forgets.
struct Forgetful(PathBuf);

impl Receiver for Forgetful {
    fn store(&self, _from: &Caller, _object: ReceivedObject) -> StoreStatus {
        StoreStatus::Success
    }
    fn committed(&self, _from: &Caller, _report: CommitmentReport) -> bool {
        true
    }
    fn staging(&self) -> &Path {
        &self.0
    }
    fn refuse_early(&self) -> Option<StoreStatus> {
        None
    }
}

fn receive(port: u16) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let config = ScpConfig {
        ae_title: AeTitle::parse("OVERREAD")?,
        bind: ([127, 0, 0, 1], port).into(),
        tls: None,
        accept_any_called: true,
        calling: Vec::new(),
        max_associations: 64,
        idle: Duration::from_secs(60),
        negotiation: Duration::from_secs(10),
        max_object_bytes: 1 << 30,
        max_pdu: 256 * 1024,
    };
    let scp = Scp::start(config, Arc::new(Forgetful(folder.path().to_owned())))?;
    println!("{}", serde_json::json!({ "listening": scp.address().to_string() }));
    // Until standard input ends.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    scp.stop(Duration::ZERO);
    Ok(())
}
