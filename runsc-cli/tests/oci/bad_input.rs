//! What people and engines get wrong: one line that says what, and nothing left behind.

use serde_json::{Value, json};

use crate::{Place, cannot, is_foreign};

/// Asserts that creating a changed bundle fails with this text, and that nothing is left.
fn refused(place: &Place, change: impl Fn(&mut Value), expected: &str) {
    let mut bundle = place.bundle(&["true"]);
    change(&mut bundle.config);
    bundle.write();
    let (status, text) = place.fails(&["create", "--bundle", bundle.path(), "bad"]);
    assert_eq!(status, 1);
    assert!(is_foreign() || text.contains(expected), "{text:?} has no {expected:?}");
    assert!(place.ids().is_empty());
}

#[test]
fn bundles() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let empty = place.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let (status, text) = place.fails(&["create", "--bundle", empty.to_str().unwrap(), "x"]);
    assert_eq!(status, 1);
    assert!(text.contains("config.json") && (is_foreign() || text.contains("not found")), "{text}");
    for broken in ["{", "[1]", "", r#"{"process": 7}"#, r#"{"root": {"path": 3}}"#] {
        std::fs::write(empty.join("config.json"), broken).unwrap();
        let (status, _) = place.fails(&["create", "--bundle", empty.to_str().unwrap(), "x"]);
        assert_eq!(status, 1);
    }
    assert!(place.ids().is_empty());
    refused(&place, |config| config["root"]["path"] = json!("nowhere"), "no such file");
    refused(&place, |config| config["process"]["args"] = json!([]), "args");
    refused(&place, |config| config["process"]["cwd"] = json!("relative"), "absolute");
    refused(
        &place,
        |config| config["process"]["args"] = json!(["nosuch"]),
        "executable file not found in $PATH",
    );
    refused(&place, |config| config["process"]["terminal"] = json!(true), "console socket");
    refused(
        &place,
        |config| {
            let mount =
                json!({"destination": "/m", "type": "bind", "source": "/nowhere", "options": ["bind"]});
            config["mounts"].as_array_mut().unwrap().push(mount);
        },
        "/nowhere",
    );
    refused(
        &place,
        |config| {
            let mount = json!({"destination": "/m", "type": "nosuchfs", "source": "x"});
            config["mounts"].as_array_mut().unwrap().push(mount);
        },
        "nosuchfs",
    );
    refused(&place, |config| config["linux"]["sysctl"] = json!({"kernel.no_such": "1"}), "kernel.no_such");
    if !is_foreign() {
        // Without resctrl, runc says nothing to the one, and this version nothing to the other.
        refused(&place, |config| config["linux"]["intelRdt"] = json!({"closID": "x"}), "intelRdt");
        refused(
            &place,
            |config| {
                let mount = json!({"destination": "/m", "type": "bind", "source": "/tmp", "options": ["bind", "idmap"]});
                config["mounts"].as_array_mut().unwrap().push(mount);
            },
            "idmapped",
        );
    }
}

#[test]
fn wrong_order() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let bundle = place.bundle(&["sleep", "1000"]);
    for args in [
        &["start", "x"][..],
        &["state", "x"],
        &["kill", "x", "KILL"],
        &["delete", "x"],
        &["pause", "x"],
        &["ps", "x"],
    ] {
        let (status, text) = place.fails(args);
        assert_eq!(status, 1);
        assert!(text.contains("does not exist"), "{args:?}: {text}");
    }
    assert_eq!(place.fails(&["exec", "x", "true"]).0, 255);
    place.ok(&["delete", "--force", "x"]);
    place.create(&bundle, "x");
    let (_, text) = place.fails(&["create", "--bundle", bundle.path(), "x"]);
    assert!(text.contains("exist"), "{text}");
    place.fails(&["resume", "x"]);
    place.ok(&["start", "x"]);
    let (_, text) = place.fails(&["start", "x"]);
    assert!(text.contains("cannot start an already running container"), "{text}");
    place.fails(&["kill", "x", "NOSUCH"]);
    for id in ["a/b", "", "..", "a b"] {
        place.fails(&["create", "--bundle", bundle.path(), id]);
    }
    for args in [&["create"][..], &["nosuch"], &["kill"], &["list", "--format", "xml"]] {
        let output = place.run(args);
        assert!(is_foreign() || !output.status.success(), "{args:?}");
    }
}

#[test]
fn errors_are_in_the_log_for_engines() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let log = place.path().join("log.json");
    place.fails(&["--log", log.to_str().unwrap(), "--log-format", "json", "state", "nosuch"]);
    let text = std::fs::read_to_string(&log).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "error");
    assert!(last["msg"].as_str().unwrap().contains("container does not exist"), "{last}");
    assert!(last["time"].is_string());
}

#[test]
fn not_yet() {
    if cannot() || is_foreign() {
        return;
    }
    let place = Place::make();
    for command in ["checkpoint", "restore"] {
        let (status, text) = place.fails(&[command, "--image-path", "/x", "web"]);
        assert_eq!(status, 1);
        assert!(text.ends_with("not supported yet"), "{text}");
    }
}
