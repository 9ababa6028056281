//! The files of `web/demo/`, and the client of `web/client/`: all are part of the binary.

pub const HTML: &str = "text/html; charset=utf-8";
pub const JSON: &str = "application/json";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file of `web/demo/`.
macro_rules! demo {
    ($name:literal) => {
        include_bytes!(concat!("../../../web/demo/", $name)).as_slice()
    };
}

/// Path, content type and bytes of each file. Without bytes, there is no such file.
pub const FILES: &[(&str, &str, &[u8])] = &[
    ("/", HTML, demo!("index.html")),
    ("/demo", HTML, demo!("index.html")),
    ("/demo/", HTML, demo!("index.html")),
    ("/demo/chat", HTML, demo!("chat.html")),
    ("/demo/ticker", HTML, demo!("ticker.html")),
    ("/demo/board", HTML, demo!("board.html")),
    ("/demo/notes", HTML, demo!("notes.html")),
    ("/demo/notify", HTML, demo!("notify.html")),
    ("/demo/devices", HTML, demo!("devices.html")),
    ("/demo/game", HTML, demo!("game.html")),
    ("/demo/assistant", HTML, demo!("assistant.html")),
    ("/demo/inspector", HTML, demo!("inspector.html")),
    ("/demo/demo.css", CSS, demo!("demo.css")),
    ("/demo/icon.svg", SVG, demo!("icon.svg")),
    ("/demo/wave.svg", SVG, demo!("wave.svg")),
    ("/demo/tidegate.js", SCRIPT, include_bytes!("../../../web/client/dist/index.js").as_slice()),
    ("/demo/page.js", SCRIPT, demo!("page.js")),
    ("/demo/peers.js", SCRIPT, demo!("peers.js")),
    ("/demo/index.js", SCRIPT, demo!("index.js")),
    ("/demo/chat.js", SCRIPT, demo!("chat.js")),
    ("/demo/ticker.js", SCRIPT, demo!("ticker.js")),
    ("/demo/board.js", SCRIPT, demo!("board.js")),
    ("/demo/notes.js", SCRIPT, demo!("notes.js")),
    // Made by build.rs.
    ("/demo/yjs.js", SCRIPT, include_bytes!(concat!(env!("OUT_DIR"), "/yjs.js")).as_slice()),
    ("/demo/notify.js", SCRIPT, demo!("notify.js")),
    ("/demo/devices.js", SCRIPT, demo!("devices.js")),
    ("/demo/mqtt.js", SCRIPT, demo!("mqtt.js")),
    ("/demo/sensors.js", SCRIPT, demo!("sensors.js")),
    ("/demo/game.js", SCRIPT, demo!("game.js")),
    ("/demo/assistant.js", SCRIPT, demo!("assistant.js")),
    ("/demo/inspector.js", SCRIPT, demo!("inspector.js")),
];
