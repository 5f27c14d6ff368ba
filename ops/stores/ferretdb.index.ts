/**
 * A change to FerretDB's sources before its build. MongoDB reads by the index on `_id` and those that Confab makes;
 * FerretDB on SQLite makes the same ones, never asks them, and decodes every document of the collection on each look.
 * Here SQLite is asked first for what an index can tell; FerretDB filters what it finds as before.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Where a query's condition is complete, in `collection.go`; its first occurrence is that of reads. */
const BEFORE = "\tq += whereClause\n";
const ASKED =
  '\tif where, values := indexed(params.Filter); where != "" {\n\t\twhereClause, args = where, values\n\t}\n\n';

/**
 * SQLite compares the JSON text of a field. For a range of `_id` that agrees with MongoDB's order where bounds have no
 * character that JSON escapes or that sorts before a quote: others are not passed on. A bound goes without its last
 * quote, so that nothing is left out that FerretDB would keep. In the other fields no document of ours has a list.
 */
const INDEXED = `package sqlite

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/FerretDB/FerretDB/internal/backends/sqlite/metadata"
	"github.com/FerretDB/FerretDB/internal/handler/sjson"
	"github.com/FerretDB/FerretDB/internal/types"
	"github.com/FerretDB/FerretDB/internal/util/must"
)

var plainBound = regexp.MustCompile("^[A-Za-z0-9./-]+$")

func indexed(filter *types.Document) (string, []any) {
	var where []string
	var args []any

	for _, field := range []string{"_id", "room", "user", "sender", "key"} {
		if filter.Len() == 0 || !filter.Has(field) {
			continue
		}

		// as in the index, or SQLite does not know it again
		column := fmt.Sprintf("%s->%q", metadata.DefaultColumn, field)

		switch v := must.NotFail(filter.Get(field)).(type) {
		case string:
			where = append(where, column+" = ?")
			args = append(args, string(must.NotFail(sjson.MarshalSingleValue(v))))
		case *types.Document:
			for _, op := range v.Keys() {
				bound, ok := must.NotFail(v.Get(op)).(string)
				if field != "_id" || !ok || !plainBound.MatchString(bound) {
					continue
				}

				switch op {
				case "$gt", "$gte":
					where = append(where, column+" >= ?")
					args = append(args, "\\x22"+bound)
				case "$lt", "$lte":
					where = append(where, column+" <= ?")
					args = append(args, "\\x22"+bound+"~")
				}
			}
		}
	}

	if len(where) == 0 {
		return "", nil
	}

	return " WHERE " + strings.Join(where, " AND "), args
}
`;

/** Changes the sources of the package in this folder; rejects when they are not those that this was written for. */
export async function askIndexes(folder: string): Promise<void> {
  const path = join(folder, "collection.go");
  const source = await readFile(path, "utf8");
  const at = source.indexOf(BEFORE);
  if (at < 0) throw new Error("FerretDB's collection.go is not as it was.");
  await writeFile(path, source.slice(0, at) + ASKED + source.slice(at));
  await writeFile(join(folder, "indexed.go"), INDEXED);
}
