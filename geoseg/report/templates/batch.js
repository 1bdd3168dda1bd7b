(function () {
  var root = document.documentElement;
  function byId(id) { return document.getElementById(id); }
  function make(name, text, parent) {
    var element = document.createElement(name);
    if (text) { element.textContent = text; }
    if (parent) { parent.appendChild(element); }
    return element;
  }

  /* Tables that are sorted by a click on a heading: numbers as numbers, a dash last. */
  function valueOf(row, column) {
    var text = row.cells[column].textContent.trim();
    var number = parseFloat(text.replace(/,/g, ""));
    return row.cells[column].classList.contains("n") ? (isNaN(number) ? null : number) : text;
  }
  function offerSorting(table) {
    var heads = Array.prototype.slice.call(table.tHead.rows[0].cells);
    heads.forEach(function (head, column) {
      var text = head.textContent, button;
      head.textContent = "";
      head.setAttribute("aria-sort", "none");
      button = make("button", text, head);
      button.type = "button";
      button.addEventListener("click", function () {
        var down = head.getAttribute("aria-sort") === "ascending", body = table.tBodies[0];
        heads.forEach(function (one) { one.setAttribute("aria-sort", "none"); });
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        var rows = Array.prototype.map.call(body.rows, function (row) { return [valueOf(row, column), row]; });
        rows.sort(function (one, two) {
          if (one[0] === null || two[0] === null) { return (one[0] === null) - (two[0] === null); }
          var order = typeof one[0] === "number" ? one[0] - two[0] : one[0].localeCompare(two[0], undefined, { numeric: true });
          return down ? -order : order;
        });
        rows.forEach(function (pair) { body.appendChild(pair[1]); });
      });
    });
  }

  function shareColor(about, share) {
    return about.ramp[Math.min(about.ramp.length - 1, Math.floor(share * about.ramp.length))];
  }
  function countColor(about, count) {
    return shareColor(about, about.most > 1 ? Math.log(count) / Math.log(about.most) : 1);
  }
  function swatch(parent, color, text) {
    var line = make("span", "", parent), space = "http://www.w3.org/2000/svg";
    var mark = document.createElementNS(space, "svg"), square = document.createElementNS(space, "rect");
    mark.setAttribute("class", "swatch");
    mark.setAttribute("viewBox", "0 0 12 12");
    square.setAttribute("width", "12");
    square.setAttribute("height", "12");
    square.setAttribute("fill", color);
    mark.appendChild(square);
    line.appendChild(mark);
    line.appendChild(document.createTextNode(" " + text));
  }

  function popup(about, shape) {
    var box = make("div"), names = {};
    about.classes.forEach(function (one) { names[one.id] = one.name; });
    if (shape.link) {
      var link = make("a", shape.title, box);
      link.setAttribute("href", shape.link);
    } else {
      make("b", shape.title || shape.count + (shape.count === 1 ? " scene" : " scenes"), box);
    }
    if (shape.states) {
      Object.keys(shape.states).forEach(function (state) { make("div", state + ": " + shape.states[state], box); });
    } else {
      make("div", shape.state, box);
    }
    Object.keys(shape.shares).forEach(function (id) {
      if (names[id]) { make("div", names[id] + ": " + (100 * shape.shares[id]).toFixed(1) + " %", box); }
    });
    return box;
  }

  function drawLines(map, about) {
    var bounds = about.bounds, style = { color: "#c3cdc8", weight: 1, interactive: false };
    function tick(at, text) {
      L.marker(at, { interactive: false, keyboard: false, icon: L.divIcon({ className: "tick", html: text, iconSize: null }) }).addTo(map);
    }
    about.meridians.forEach(function (one) {
      L.polyline([[bounds[0][0], one[0]], [bounds[1][0], one[0]]], style).addTo(map);
      tick([bounds[0][0], one[0]], one[1]);
    });
    about.parallels.forEach(function (one) {
      L.polyline([[one[0], bounds[0][1]], [one[0], bounds[1][1]]], style).addTo(map);
      tick([one[0], bounds[0][1]], one[1]);
    });
  }

  function showArchive(about) {
    var k = about.squeeze, legend, chosen;
    byId("map-panel").hidden = false;
    root.classList.add("js");
    var crs = L.extend({}, L.CRS.EPSG4326, { transformation: L.transformation(k / 180, k, -1 / 180, 0.5), wrapLng: undefined });
    var map = L.map("map", { crs: crs, attributionControl: false, zoomSnap: 0.25, maxZoom: 22, scrollWheelZoom: false, preferCanvas: true });
    map.fitBounds(about.bounds, { padding: [24, 24], maxZoom: 16 });
    map.setMinZoom(map.getZoom() - 2);
    map.setMaxBounds(L.latLngBounds(about.bounds).pad(0.6));
    map.on("focus", function () { map.scrollWheelZoom.enable(); });
    map.on("blur", function () { map.scrollWheelZoom.disable(); });
    L.control.scale({ imperial: false, maxWidth: 160 }).addTo(map);
    drawLines(map, about);
    var drawn = about.shapes.map(function (shape) {
      var rings = shape.rings.map(function (ring) { return [ring.map(function (point) { return [point[1], point[0]]; })]; });
      var area = L.polygon(rings, { weight: 1, fillOpacity: 0.55 }), bounds = area.getBounds(), layer = area;
      var size = map.project(bounds.getSouthEast()).subtract(map.project(bounds.getNorthWest()));
      if (size.x < 6 && size.y < 6) { /* too small to see or hit: a dot as well */
        layer = L.featureGroup([area, L.circleMarker(bounds.getCenter(), { radius: 4, weight: 1, fillOpacity: 0.55 })]);
      }
      layer.bindPopup(function () { return popup(about, shape); });
      return [layer.addTo(map), shape];
    });
    drawn.forEach(function (pair) {
      if (pair[1].state === "failed" || pair[1].state === "quarantined") { pair[0].bringToFront(); }
    });

    function colorOf(shape) {
      if (chosen.value === "count") { return countColor(about, shape.count); }
      if (chosen.value === "state") { return about.colors[shape.state]; }
      var share = shape.shares[chosen.value];
      return share === undefined ? "#b9c2bd" : shareColor(about, share);
    }
    function paint() {
      drawn.forEach(function (pair) { var color = colorOf(pair[1]); pair[0].setStyle({ color: color, fillColor: color }); });
      legend.textContent = "";
      if (chosen.value === "state") {
        about.states.forEach(function (one) { swatch(legend, one[1], one[0] + ": " + one[2].toLocaleString("en")); });
      } else if (chosen.value === "count") {
        swatch(legend, about.ramp[0], "1 scene");
        swatch(legend, about.ramp[about.ramp.length - 1], about.most.toLocaleString("en") + " scenes");
      } else {
        about.ramp.forEach(function (color, k) {
          swatch(legend, color, 100 * k / about.ramp.length + "–" + 100 * (k + 1) / about.ramp.length + " %");
        });
      }
      root.dataset.painted = chosen.value;
    }
    var label = make("label", "Color ", byId("map-controls"));
    chosen = make("select", "", label);
    chosen.id = "map-color";
    var choices = about.binned ? [["count", "number of scenes"], ["state", "state (of the worst)"]] : [["state", "state"]];
    about.classes.forEach(function (one) { choices.push([one.id, "share of " + one.name]); });
    choices.forEach(function (one) { make("option", one[1], chosen).value = one[0]; });
    legend = make("span", "", byId("map-controls"));
    legend.id = "map-legend";
    chosen.addEventListener("change", paint);
    var place = make("span", "", byId("map-controls"));
    place.className = "place";
    map.on("mousemove", function (event) {
      var lon = ((event.latlng.lng + 180) % 360 + 360) % 360 - 180;
      place.textContent = event.latlng.lat.toFixed(4) + "°, " + lon.toFixed(4) + "°";
    });
    paint();
    root.dataset.map = "ready";
  }

  Array.prototype.forEach.call(document.querySelectorAll("table.sortable"), offerSorting);
  var block = byId("geoseg-archive");
  if (block) { showArchive(JSON.parse(block.textContent)); }
})();
