use std::path::PathBuf;

use overread_dicom::read::Header;
use overread_domain::Uid;

use super::*;

const AXIAL: [f64; 6] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
const SAGITTAL: [f64; 6] = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0];

/// A slice of a series, with its first pixel at z.
fn slice(series: &str, z: f64, orientation: [f64; 6]) -> ImageFile {
    let mut header = Header::of_photograph("", 64, 64, 1, 12);
    header.series_instance_uid = Uid::parse(series).ok();
    let geometry = PlaneGeometry { position: [-100.0, -100.0, z], orientation, frame_of_reference: None };
    let name = format!("{series} at {z}");
    ImageFile {
        path: PathBuf::from(&name),
        name,
        position: 0,
        header,
        slices: vec![geometry],
        photograph: false,
        slide: false,
    }
}

fn stack(series: &str, places: impl IntoIterator<Item = f64>) -> Vec<ImageFile> {
    places.into_iter().map(|z| slice(series, z, AXIAL)).collect()
}

fn arranged(images: &[ImageFile], planes: &[Plane]) -> Arrangement {
    let frames = images
        .iter()
        .enumerate()
        .flat_map(|(image, file)| (0..file.header.frames).map(move |frame| FrameRef { image, frame }));
    arrange(images, frames.collect(), planes)
}

fn order(arrangement: &Arrangement) -> Vec<usize> {
    arrangement.frames.iter().map(|f| f.image).collect()
}

fn codes(arrangement: &Arrangement) -> Vec<(usize, &str)> {
    arrangement.left_out.iter().map(|(frame, why)| (frame.image, why.code.as_str())).collect()
}

#[test]
fn slices_are_sorted_by_where_they_lie() {
    let images = stack("1.1", [20.0, 0.0, 15.0, 5.0, 10.0]);
    let found = arranged(&images, &[]);
    assert_eq!(order(&found), [1, 3, 4, 2, 0]);
    assert_eq!((found.left_out.len(), found.unseen.len()), (0, 0));
}

#[test]
fn tilted_slices_are_one_stack_in_order() {
    // Gantry tilt: the normal leans 20 degrees, slices step along z.
    let (sin, cos) = 20f64.to_radians().sin_cos();
    let images: Vec<_> = [10.0, 0.0, 5.0].map(|z| slice("1.1", z, [1.0, 0.0, 0.0, 0.0, cos, sin])).into();
    let found = arranged(&images, &[Plane::Axial]);
    assert_eq!(order(&found).len(), 3);
    assert_eq!(order(&found)[1], 2);
    assert_eq!(found.unseen.len(), 0);
}

#[test]
fn a_missing_slice_is_told_with_its_place() {
    let found = arranged(&stack("1.1", [0.0, 5.0, 10.0, 25.0, 30.0]), &[]);
    let [gap] = &found.unseen[..] else { panic!("{:?}", found.unseen) };
    assert!(
        gap.contains("15.0 mm between 1.1 at 10 and 1.1 at 25") && gap.contains("about 2 slices"),
        "{gap}"
    );
}

#[test]
fn slices_in_one_place_are_read_once() {
    let found = arranged(&stack("1.1", [0.0, 5.0, 5.0, 10.0, 5.01]), &[]);
    assert_eq!(order(&found), [0, 1, 3]);
    assert_eq!(codes(&found), [(2, "duplicate-slice"), (4, "duplicate-slice")]);
    assert_eq!(found.unseen.len(), 1, "their pixels may differ");
}

#[test]
fn the_series_with_the_most_slices_is_read() {
    let mut images = stack("1.1", [0.0, 10.0, 20.0]);
    images.extend(stack("1.2", [0.0, 5.0, 10.0, 15.0, 20.0]));
    let found = arranged(&images, &[]);
    assert_eq!(order(&found), [3, 4, 5, 6, 7]);
    assert_eq!(codes(&found), [(0, "other-series"), (1, "other-series"), (2, "other-series")]);
    assert_eq!(found.unseen.len(), 0, "it lies within what was read");
}

#[test]
fn what_another_series_shows_beyond_is_told() {
    // An old scanner: the skull base in thin slices, the rest in thick ones.
    let mut images = stack("1.1", (0..4).map(|i| f64::from(i) * 5.0));
    images.extend(stack("1.2", (2..9).map(|i| f64::from(i) * 10.0)));
    let found = arranged(&images, &[]);
    assert_eq!(order(&found), [4, 5, 6, 7, 8, 9, 10]);
    assert!(found.unseen[0].contains("20 mm beyond"), "{:?}", found.unseen);
}

#[test]
fn localisers_other_planes_and_reports_are_left_out() {
    let mut images = stack("1.1", [0.0, 5.0, 10.0]);
    images.push(slice("1.1", 0.0, SAGITTAL));
    images[0].header.image_type = vec!["ORIGINAL".into(), "PRIMARY".into(), "LOCALIZER".into()];
    let mut report = slice("1.9", 0.0, AXIAL);
    report.slices.clear();
    images.push(report);
    let found = arranged(&images, &[Plane::Axial]);
    assert_eq!(order(&found), [1, 2]);
    assert_eq!(codes(&found), [(0, "localiser"), (4, "no-geometry"), (3, "plane")]);
}

#[test]
fn a_study_of_another_plane_alone_is_not_read() {
    let images = vec![slice("1.1", 0.0, SAGITTAL), slice("1.1", 5.0, SAGITTAL)];
    let found = arranged(&images, &[Plane::Axial]);
    assert_eq!(found.frames, []);
    assert!(found.left_out[0].1.message.contains("sagittal plane; axial is read"));
}

#[test]
fn frames_of_one_object_are_slices_too() {
    let mut object = slice("1.1", 0.0, AXIAL);
    object.header.frames = 3;
    let first = object.slices[0].clone();
    object.slices =
        [10.0, 0.0, 5.0].map(|z| PlaneGeometry { position: [0.0, 0.0, z], ..first.clone() }).into();
    let found = arranged(&[object], &[]);
    assert_eq!(found.frames.iter().map(|f| f.frame).collect::<Vec<_>>(), [1, 2, 0]);
}

#[test]
fn what_tells_no_place_stays_as_it_came() {
    let mut images = stack("1.1", [3.0, 1.0]);
    images.iter_mut().for_each(|image| image.slices.clear());
    assert_eq!(order(&arranged(&images, &[])), [0, 1]);
    // Direction cosines that are no plane tell no place either.
    let broken = vec![slice("1.1", 0.0, [0.0; 6]), slice("1.1", 5.0, [f64::NAN; 6])];
    assert_eq!(order(&arranged(&broken, &[])), [0, 1]);
}

#[test]
fn a_slice_of_the_series_without_a_place_is_not_ruled_out() {
    let mut images = stack("1.1", [0.0, 5.0, 10.0, 15.0]);
    images[1].slices.clear();
    let found = arranged(&images, &[]);
    assert_eq!(codes(&found), [(1, "no-geometry")]);
    assert!(found.unseen.iter().any(|why| why.contains("1 slices of the series")), "{:?}", found.unseen);
}

#[test]
fn a_series_that_cannot_be_compared_is_told() {
    let mut images = stack("1.1", [0.0, 5.0, 10.0]);
    images.extend(stack("1.2", [0.0, 5.0]));
    images[3..].iter_mut().for_each(|i| i.slices[0].frame_of_reference = Uid::parse("1.9").ok());
    let found = arranged(&images, &[]);
    assert!(found.unseen[0].contains("Frame of Reference"), "{:?}", found.unseen);
}
