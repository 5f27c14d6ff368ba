/**
 * A change to FerretDB's sources before its build: MongoDB reads a range of `_id` by its index, FerretDB on SQLite
 * decodes every document of the collection for it. SQLite has that index, too; it is only never asked for a range.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Where a query's condition is complete, in `collection.go`; its first occurrence is that of reads. */
const BEFORE = "\tq += whereClause\n";
const ASKED = `\tif whereClause == "" {\n\t\twhereClause, args = rangeOfID(params.Filter)\n\t}\n\n`;

/**
 * SQLite compares the JSON text of `_id`. That agrees with MongoDB's order for bounds without characters that JSON
 * escapes or that sort before a quote; others are not passed on. The bound goes without its last quote, so that
 * no string is left out that FerretDB would keep.
 */
const RANGES = `package sqlite

import (
	"fmt"
	"regexp"

	"github.com/FerretDB/FerretDB/internal/backends/sqlite/metadata"
	"github.com/FerretDB/FerretDB/internal/types"
)

var plainBound = regexp.MustCompile("^[A-Za-z0-9./-]+$")

func rangeOfID(filter *types.Document) (string, []any) {
	if filter.Len() == 0 || !filter.Has("_id") {
		return "", nil
	}

	v, _ := filter.Get("_id")

	bounds, ok := v.(*types.Document)
	if !ok {
		return "", nil
	}

	var where string
	var args []any

	for _, op := range bounds.Keys() {
		b, _ := bounds.Get(op)

		bound, ok := b.(string)
		if !ok || !plainBound.MatchString(bound) {
			continue
		}

		var compare, end string

		switch op {
		case "$gt", "$gte":
			compare = ">="
		case "$lt", "$lte":
			compare, end = "<=", "~"
		default:
			continue
		}

		if where != "" {
			where += " AND "
		}

		where += fmt.Sprintf("%s %s ?", metadata.IDColumn, compare)
		args = append(args, "\\x22"+bound+end)
	}

	if where == "" {
		return "", nil
	}

	return " WHERE " + where, args
}
`;

/** Changes the sources of the package in this folder; rejects when they are not those that it was written for. */
export async function readRangesByIndex(folder: string): Promise<void> {
  const path = join(folder, "collection.go");
  const source = await readFile(path, "utf8");
  const at = source.indexOf(BEFORE);
  if (at < 0) throw new Error("FerretDB's collection.go is not as it was.");
  await writeFile(path, source.slice(0, at) + ASKED + source.slice(at));
  await writeFile(join(folder, "ranges.go"), RANGES);
}
