# Draws one data file as SVG; `.ci/plot` says what is in it.

function decade(value) { return log(value) / log(10) }
function floor(value,  whole) { whole = int(value); return whole > value ? whole - 1 : whole }
function ceiling(value) { return -floor(-value) }

# Separates thousands; small numbers keep their fraction.
function spelled(value,  text, out) {
    if (value < 100 && value != int(value)) return value ""
    text = sprintf("%d", value)
    while (length(text) > 3) {
        out = "," substr(text, length(text) - 2) out
        text = substr(text, 1, length(text) - 3)
    }
    return text out
}

function escaped(text) {
    gsub(/&/, "\\&amp;", text)
    gsub(/</, "\\&lt;", text)
    return text
}

function label(x, y, anchor, style, text) {
    printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>%s</text>\n", x, y, anchor, style, escaped(text)
}

function line(x1, y1, x2, y2, colour) {
    printf "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", x1, y1, x2, y2, colour
}

function box(x, y, width, height, fill) {
    printf "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", x, y, width, height, fill
}

# Opens the picture on a ground of its own, so that it can be read on light and dark pages.
function begin(width, height) {
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\"", width, height, width, height
    printf " font-family=\"sans-serif\" font-size=\"12\" fill=\"#222222\">\n"
    print "<title>" escaped(said["title"]) "</title>"
    box(0, 0, width, height, "#ffffff")
    label(16, 26, "start", " font-size=\"16\" font-weight=\"bold\"", said["title"])
    label(16, 46, "start", " fill=\"#555555\"", said["note"])
}

# The decades that hold every number of some columns: `low` and `high`.
function range(from, to,  row, column, value) {
    low = 99; high = -99
    for (row = 1; row <= rows; row++) for (column = from; column <= to; column++) {
        if (cell[row, column] == "-") continue
        value = decade(cell[row, column])
        if (floor(value) < low) low = floor(value)
        if (ceiling(value) > high) high = ceiling(value)
    }
}

# Moves `low` and `high` inwards as far as 1, 2 or 5 of a decade.
function closer(from, to,  row, column, value, least, most) {
    least = high; most = low
    for (row = 1; row <= rows; row++) for (column = from; column <= to; column++) {
        if (cell[row, column] == "-") continue
        value = decade(cell[row, column])
        if (value < least) least = value
        if (value > most) most = value
    }
    low += least - low >= decade(5) ? decade(5) : least - low >= decade(2) ? decade(2) : 0
    high -= high - most >= decade(5) ? decade(5) : high - most >= decade(2) ? decade(2) : 0
}

function bars(  left, right, top, step, panel, row, x, y, value, power, key) {
    left = 214; right = 690; step = 19
    colour["yes"] = "#1a6fb4"; colour["partly"] = "#79aed6"; colour["no"] = "#c9c9c9"
    meaning["yes"] = "stored before it is acknowledged"
    meaning["partly"] = "stored now and then"
    meaning["no"] = "not stored"
    range(3, columns)
    begin(760, 84 + (columns - 2) * (rows * step + 58))
    x = 16
    split("yes partly no", order, " ")
    for (key = 1; key <= 3; key++) {
        box(x, 58, 12, 12, colour[order[key]])
        label(x + 18, 68, "start", "", meaning[order[key]])
        x += 40 + 6.2 * length(meaning[order[key]])
    }
    top = 102
    for (panel = 3; panel <= columns; panel++) {
        label(16, top, "start", " font-weight=\"bold\"", heading[panel])
        for (power = low; power <= high; power++) {
            x = left + (right - left) * (power - low) / (high - low)
            line(x, top + 8, x, top + 14 + rows * step, "#dddddd")
            label(x, top + 28 + rows * step, "middle", " fill=\"#555555\"", spelled(10 ^ power))
        }
        for (row = 1; row <= rows; row++) {
            y = top + 12 + (row - 1) * step
            label(left - 8, y + 11, "end", cell[row, 1] ~ /^Parlor/ ? " font-weight=\"bold\"" : "", cell[row, 1])
            value = cell[row, panel]
            if (value == "-") { label(left + 6, y + 11, "start", " fill=\"#555555\"", "not measured"); continue }
            x = (right - left) * (decade(value) - low) / (high - low)
            box(left, y, x, step - 5, colour[cell[row, 2]])
            label(left + x + 6, y + 11, "start", "", spelled(value))
        }
        top += rows * step + 58
    }
}

function lines(  left, right, top, bottom, power, row, column, x, y, path, low_x, high_x, y_at, times, label_y) {
    left = 70; right = 650; top = 84; bottom = 384
    split("#1a6fb4 #b4571a #3d8a3d #7a4fb0", shade, " ")
    range(2, columns)
    closer(2, columns)
    low_x = decade(cell[1, 1]); high_x = decade(cell[rows, 1])
    begin(760, 440)
    label(16, top - 14, "start", "", said["y"])
    for (power = floor(low); power <= high; power++) for (times = 1; times <= 5; times += times == 1 ? 1 : 3) {
        y_at = power + decade(times)
        if (y_at < low - 0.001 || y_at > high + 0.001) continue
        y = bottom - (bottom - top) * (y_at - low) / (high - low)
        line(left, y, right, y, times == 1 ? "#cccccc" : "#eeeeee")
        label(left - 8, y + 4, "end", " fill=\"#555555\"", spelled(10 ^ power * times))
    }
    for (row = 1; row <= rows; row++) {
        x = left + (right - left) * (decade(cell[row, 1]) - low_x) / (high_x - low_x)
        line(x, top, x, bottom, "#eeeeee")
        label(x, bottom + 18, "middle", " fill=\"#555555\"", spelled(cell[row, 1]))
    }
    label((left + right) / 2, bottom + 42, "middle", "", said["x"])
    label_y = bottom
    for (column = 2; column <= columns; column++) {
        path = ""
        for (row = 1; row <= rows; row++) {
            if (cell[row, column] == "-") continue
            x = left + (right - left) * (decade(cell[row, 1]) - low_x) / (high_x - low_x)
            y = bottom - (bottom - top) * (decade(cell[row, column]) - low) / (high - low)
            path = path sprintf(" %.1f,%.1f", x, y)
            printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", x, y, shade[column - 1]
        }
        printf "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", substr(path, 2), shade[column - 1]
        # Names stand apart where lines meet; each line is above the one before it.
        label_y = y > label_y - 15 ? label_y - 15 : y
        label(x + 10, label_y + 4, "start", " font-weight=\"bold\" fill=\"" shade[column - 1] "\"", heading[column])
    }
}

/^# / {
    at = index($0, "\t")
    said[substr($0, 3, at - 3)] = substr($0, at + 1)
    next
}
!columns {
    columns = NF
    for (column = 1; column <= NF; column++) heading[column] = $column
    next
}
{
    rows++
    for (column = 1; column <= NF; column++) cell[rows, column] = $column
}
END {
    if (said["kind"] == "bars") bars()
    else lines()
    print "</svg>"
}
