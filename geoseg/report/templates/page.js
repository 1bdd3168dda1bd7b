"use strict";
(function () {
  var root = document.documentElement;
  function byId(id) { return document.getElementById(id); }
  function make(name, attributes, parent) {
    var element = document.createElement(name);
    Object.keys(attributes || {}).forEach(function (key) { element[key] = attributes[key]; });
    if (parent) { parent.appendChild(element); }
    return element;
  }

  /* The JSON block: shown and copied. */
  function offerJson() {
    var text = byId("geoseg-documents").textContent, view = byId("json-view"), said = byId("json-said");
    function show() {
      view.textContent = JSON.stringify(JSON.parse(text), null, 1);
      view.hidden = false;
      byId("json-show").setAttribute("aria-expanded", "true");
      byId("json-show").textContent = "Hide JSON";
    }
    byId("json-buttons").hidden = false;
    byId("json-show").addEventListener("click", function () {
      if (view.hidden) { show(); return; }
      view.hidden = true;
      byId("json-show").setAttribute("aria-expanded", "false");
      byId("json-show").textContent = "Show JSON";
    });
    byId("json-copy").addEventListener("click", function () {
      function select() {
        show();
        window.getSelection().selectAllChildren(view);
        said.textContent = document.execCommand("copy") ? "Copied." : "Selected: copy it with the keyboard.";
      }
      if (!navigator.clipboard) { select(); return; }
      navigator.clipboard.writeText(text).then(function () { said.textContent = "Copied."; }, select);
    });
  }

  /* The class picture as a canvas whose classes can be hidden: a color tells its class. */
  function drawable(image, classes) {
    var canvas = make("canvas", { width: image.naturalWidth, height: image.naturalHeight });
    var context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    var picture = context.getImageData(0, 0, canvas.width, canvas.height), pixels = picture.data;
    var position = new Map(), owner = new Uint8Array(canvas.width * canvas.height).fill(255);
    classes.forEach(function (one, k) { position.set(parseInt(one.drawn.slice(1), 16), k); });
    for (var at = 0; at < owner.length; at += 1) {
      if (pixels[4 * at + 3]) {
        var found = position.get(pixels[4 * at] << 16 | pixels[4 * at + 1] << 8 | pixels[4 * at + 2]);
        if (found !== undefined) { owner[at] = found; }
      }
    }
    return {
      canvas: canvas,
      show: function (visible) {
        for (var at = 0; at < owner.length; at += 1) {
          if (owner[at] !== 255) { pixels[4 * at + 3] = visible[owner[at]] ? 255 : 0; }
        }
        context.putImageData(picture, 0, 0);
      }
    };
  }

  function toggle(parent, name, color, checked, change) {
    var label = make("label", {}, parent);
    var box = make("input", { type: "checkbox", checked: checked }, label);
    if (color) {
      var space = "http://www.w3.org/2000/svg", mark = document.createElementNS(space, "svg");
      mark.setAttribute("class", "swatch");
      mark.setAttribute("viewBox", "0 0 12 12");
      var square = document.createElementNS(space, "rect");
      square.setAttribute("width", "12");
      square.setAttribute("height", "12");
      square.setAttribute("rx", "2");
      square.setAttribute("fill", color);
      mark.appendChild(square);
      label.appendChild(mark);
    }
    make("span", { textContent: name }, label);
    box.addEventListener("change", function () { change(box.checked); });
  }

  function showMap() {
    var block = byId("geoseg-map");
    if (!block || !window.L) { return; }
    var about = JSON.parse(block.textContent), bounds = about.bounds, controls = byId("map-controls");
    byId("map-panel").hidden = false;
    root.classList.add("js");
    var map = L.map("map", { attributionControl: false, zoomSnap: 0.25, maxZoom: 22, scrollWheelZoom: false });
    map.fitBounds(bounds);
    map.setMinZoom(map.getZoom() - 2);
    map.setMaxBounds(L.latLngBounds(bounds).pad(0.6));
    map.on("focus", function () { map.scrollWheelZoom.enable(); });
    map.on("blur", function () { map.scrollWheelZoom.disable(); });
    L.control.scale({ imperial: false, maxWidth: 160 }).addTo(map);

    var drawn = drawable(byId("map-classes"), about.classes);
    var visible = about.classes.map(function () { return true; });
    var classes = L.svgOverlay(drawn.canvas, bounds, { interactive: false }).addTo(map);
    var layers = make("fieldset", { className: "group" }, controls);
    about.classes.forEach(function (one, k) {
      toggle(layers, one.name, one.color, true, function (on) { visible[k] = on; drawn.show(visible); });
    });
    var others = make("fieldset", { className: "group" }, controls);
    [["map-scene", "Scene", 1, true], ["map-confidence", "Confidence below 90 % (the darker, the less certain)", 300, false]].forEach(function (one) {
      var image = byId(one[0]);
      if (!image) { return; }
      var layer = L.imageOverlay(image.src, bounds, { zIndex: one[2], className: one[0] });
      if (one[3]) { layer.addTo(map); }
      toggle(others, one[1], null, one[3], function (on) { if (on) { layer.addTo(map); } else { layer.remove(); } });
    });
    var slider = make("label", { textContent: "Opacity of the classes " }, others);
    var range = make("input", { type: "range", min: 0, max: 100, value: 100, id: "map-opacity" }, slider);
    range.addEventListener("input", function () { classes.setOpacity(range.value / 100); });
    var place = make("span", { className: "place" }, controls);
    map.on("mousemove", function (event) {
      var at = event.latlng.wrap();
      place.textContent = at.lat.toFixed(5) + "°, " + at.lng.toFixed(5) + "°";
    });
    root.dataset.map = "ready";
  }

  offerJson();
  var picture = byId("map-classes");
  if (picture) { picture.decode().then(showMap, function () { root.dataset.map = "failed"; }); }
})();
