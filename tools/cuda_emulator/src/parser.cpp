// PTX text -> Module. Device functions are inlined into their callers, so execution needs no call stack.
#include "memory.h"
#include "module.h"
#include <algorithm>
#include <functional>

namespace cuda_emulator {

Type Inst::type(size_t i) const {
  if (types.size() <= i) throw Error("no type in instruction");
  return types[i];
}
Type Inst::lastType() const {
  if (types.empty()) throw Error("no type in instruction");
  return types.back();
}

string position(const Module& M, const Function& F, const Inst& I) {
  string s = "kernel '" + F.name + "', PTX line " + std::to_string(I.line);
  if (I.srcLine) {
    auto f = M.files.find(I.srcFile);
    s += " (" + (f == M.files.end() ? string("source") : f->second.substr(f->second.rfind('/') + 1)) + ":" + std::to_string(I.srcLine) + ")";
  }
  return s + ": " + I.text;
}

namespace {

string trim(const string& s) {
  size_t a = s.find_first_not_of(" \t\r\n"), b = s.find_last_not_of(" \t\r\n");
  return a == string::npos ? "" : s.substr(a, b - a + 1);
}

// Split at top-level separators (not inside brackets or quotes).
vector<string> split(const string& s, char sep) {
  vector<string> r;
  int depth = 0;
  bool quoted = false;
  string cur;
  for (char c : s) {
    if (c == '"') quoted = !quoted;
    if (!quoted) {
      if (c == '[' || c == '{' || c == '(') depth++;
      if (c == ']' || c == '}' || c == ')') depth--;
    }
    if (c == sep && depth == 0 && !quoted) { r.push_back(trim(cur)); cur.clear(); }
    else cur += c;
  }
  if (trim(cur).size()) r.push_back(trim(cur));
  return r;
}

bool identChar(char c) { return isalnum((u8)c) || c == '_' || c == '$' || c == '%'; }

class Parser {
 public:
  Parser(const string& text, Module* m) : src(stripComments(text)), M(m) {}

  void run() {
    for (;;) {
      skipSpace();
      if (p >= src.size()) break;
      if (src[p] != '.') throw Error("PTX syntax error at line " + std::to_string(line) + " near: " + src.substr(p, 40));
      size_t q = p;
      while (q < src.size() && !isspace((u8)src[q])) q++;
      string d = src.substr(p, q - p);
      if (d == ".version" || d == ".target" || d == ".address_size") { skipLine(); continue; }
      if (d == ".file") { fileDirective(); continue; }
      if (d == ".section") { skipBraces(); continue; }
      size_t save = p;
      int saveLine = line;
      string head = until("{;");
      if (head.find(".entry") == string::npos && head.find(".func") == string::npos) {
        p = save; line = saveLine;
        string st = trim(until(";"));
        p++;
        Var v = declaration(st);
        if (v.space.size()) M->vars.push_back(v);
        continue;
      }
      function(head);
    }
    for (auto& f : M->functions) inlineCalls(f.second, 0);
    for (auto& f : M->functions)
      for (auto& I : f.second.code) { decode(I, f.second); }
  }

 private:
  const string src;
  size_t p = 0;
  int line = 1, srcFile = 0, srcLine = 0, inlineId = 0;
  Module* M;
  Function* F = nullptr;
  vector<std::map<string, int>> scopes;       // register names of the nested { } blocks

  static string stripComments(const string& s) {
    string o;
    for (size_t i = 0; i < s.size();) {
      if (s[i] == '/' && i + 1 < s.size() && s[i + 1] == '/') {
        while (i < s.size() && s[i] != '\n') i++;
      } else if (s[i] == '/' && i + 1 < s.size() && s[i + 1] == '*') {
        while (i < s.size() && !(s[i] == '*' && i + 1 < s.size() && s[i + 1] == '/')) { if (s[i] == '\n') o += '\n'; i++; }
        i += 2;
      } else o += s[i++];
    }
    return o;
  }
  void skipSpace() { while (p < src.size() && isspace((u8)src[p])) { if (src[p] == '\n') line++; p++; } }
  void skipLine() { while (p < src.size() && src[p] != '\n') p++; }
  void skipBraces() {
    while (p < src.size() && src[p] != '{') { if (src[p] == '\n') line++; p++; }
    int d = 0;
    do { if (src[p] == '{') d++; if (src[p] == '}') d--; if (src[p] == '\n') line++; p++; } while (d && p < src.size());
  }
  string until(const char* stop) {
    string r;
    bool quoted = false;
    int depth = 0;
    while (p < src.size()) {
      char c = src[p];
      if (c == '"') quoted = !quoted;
      if (!quoted && depth == 0 && strchr(stop, c)) break;
      if (!quoted) { if (c == '{') depth++; if (c == '}') depth--; }
      if (c == '\n') line++;
      r += c;
      p++;
    }
    return r;
  }
  void fileDirective() {                      // .file 1 "name"
    size_t e = src.find('\n', p);
    string st = src.substr(p, e == string::npos ? string::npos : e - p);
    size_t a = st.find('"'), b = st.rfind('"');
    if (a != string::npos && b > a) M->files[atoi(st.c_str() + 5)] = st.substr(a + 1, b - a - 1);
    skipLine();
  }

  // ".global .align 4 .b8 name[16] = {..}" and parameter declarations
  Var declaration(const string& st) {
    Var v;
    string head = st, init, dims;
    size_t eq = st.find('=');
    if (eq != string::npos) { head = trim(st.substr(0, eq)); init = trim(st.substr(eq + 1)); }
    size_t br = head.find('[');
    if (br != string::npos) { dims = head.substr(br); head = trim(head.substr(0, br)); }
    vector<string> words;
    string cur;
    for (char c : head + " ") {
      if (isspace((u8)c)) { if (cur.size()) words.push_back(cur); cur.clear(); } else cur += c;
    }
    Type t;
    int elem = 1;
    for (size_t i = 0; i + 1 < words.size(); i++) {
      const string& x = words[i];
      if (x == ".align") { v.align = atoi(words[i + 1].c_str()); i++; }
      else if (x == ".extern") v.isExtern = true;
      else if (x == ".shared" || x == ".global" || x == ".const" || x == ".local" || x == ".param") v.space = x.substr(1);
      else if (x[0] == '.' && parseType(x.substr(1), t)) elem = t.bytes();
    }
    v.name = words.empty() ? "" : words.back();
    s64 n = 1;
    bool open = false;
    for (size_t i = 0; i < dims.size(); i++)
      if (dims[i] == '[') {
        string d = trim(dims.substr(i + 1, dims.find(']', i) - i - 1));
        if (d.empty()) open = true; else n *= atoll(d.c_str());
      }
    v.align = std::max(v.align, elem);
    v.size = open ? 0 : (int)(n * elem);
    if (init.size()) {
      v.init.assign(v.size, 0);
      string flat;
      for (char c : init) if (c != '{' && c != '}') flat += c;
      int k = 0;
      for (auto& e : split(flat, ',')) {
        u64 x = 0;
        if (e.size() > 1 && e[0] == '0' && strchr("fFdD", e[1])) x = strtoull(e.c_str() + 2, 0, 16);
        else if (e[0] == '-') x = (u64)strtoll(e.c_str(), 0, 0);
        else if (isdigit((u8)e[0])) x = strtoull(e.c_str(), 0, 0);
        else M->relocs.push_back({v.name, k * elem, e});
        if ((k + 1) * elem <= v.size) memcpy(&v.init[k * elem], &x, std::min(elem, 8));
        k++;
      }
    }
    return v;
  }

  int findReg(const string& n) const {
    for (int i = (int)scopes.size() - 1; i >= 0; i--) {
      auto f = scopes[i].find(n);
      if (f != scopes[i].end()) return f->second;
    }
    return -1;
  }

  Operand specialReg(const string& s) {
    static const std::map<string, int> base = {{"%tid", SR_TID}, {"%ntid", SR_NTID}, {"%ctaid", SR_CTAID}, {"%nctaid", SR_NCTAID}};
    static const std::map<string, int> plain = {
      {"%laneid", SR_LANEID}, {"%warpid", SR_WARPID}, {"%nwarpid", SR_NWARPID}, {"%lanemask_eq", SR_LM_EQ},
      {"%lanemask_lt", SR_LM_LT}, {"%lanemask_le", SR_LM_LE}, {"%lanemask_gt", SR_LM_GT}, {"%lanemask_ge", SR_LM_GE},
      {"%dynamic_smem_size", SR_DYN_SMEM}, {"%total_smem_size", SR_TOTAL_SMEM}, {"%clock", SR_CLOCK}, {"%clock64", SR_CLOCK},
      {"%clock_hi", SR_ZERO}, {"%globaltimer", SR_CLOCK}, {"%globaltimer_lo", SR_CLOCK}, {"%globaltimer_hi", SR_ZERO},
      {"%smid", SR_ZERO}, {"%nsmid", SR_ONE}, {"%gridid", SR_ZERO}, {"%is_explicit_cluster", SR_ZERO},
      {"%cluster_ctarank", SR_ZERO}, {"%cluster_nctarank", SR_ONE}};
    Operand o;
    o.kind = OP_SREG;
    size_t d = s.find('.');
    if (d != string::npos) {
      string n = s.substr(0, d);
      int c = s[d + 1] - 'x';
      if (c < 0 || c > 2) c = 2;
      auto b = base.find(n);
      if (b != base.end()) { o.reg = b->second + c; return o; }
      // without clusters every block is a cluster of one
      if (n == "%clusterid") { o.reg = SR_CTAID + c; return o; }
      if (n == "%nclusterid") { o.reg = SR_NCTAID + c; return o; }
      if (n == "%cluster_ctaid") { o.reg = SR_ZERO; return o; }
      if (n == "%cluster_nctaid") { o.reg = SR_ONE; return o; }
    }
    auto q = plain.find(s);
    if (q != plain.end()) { o.reg = q->second; return o; }
    if (s.rfind("%envreg", 0) == 0) { o.reg = SR_ENVREG; return o; }
    throw Error("unknown register " + s);
  }

  Operand operand(string s) {
    Operand o;
    s = trim(s);
    if (s.empty()) return o;
    if (s[0] == '{') {
      o.kind = OP_VEC;
      for (auto& e : split(s.substr(1, s.rfind('}') - 1), ',')) o.sub.push_back(operand(e));
      return o;
    }
    if (s[0] == '[') {
      o.kind = OP_MEM;
      string in = trim(s.substr(1, s.rfind(']') - 1));
      size_t c = string::npos;
      for (size_t i = 1; i < in.size(); i++) if (in[i] == '+' || (in[i] == '-' && in[i - 1] != '+')) { c = i; break; }
      if (c != string::npos) {
        string t = in.substr(c);
        if (t[0] == '+') t = t.substr(1);
        t = trim(t);
        if (t.size() && !isdigit((u8)t[0]) && t[0] != '-') throw Error("address operand " + s);
        o.off = strtoll(t.c_str(), 0, 0);
        in = trim(in.substr(0, c));
      }
      o.sub.push_back(operand(in));
      return o;
    }
    if (s[0] == '!' || (s[0] == '-' && s.size() > 1 && !isdigit((u8)s[1]))) { o = operand(s.substr(1)); o.neg = true; return o; }
    size_t bar = s.find('|');
    if (bar != string::npos) { o = operand(s.substr(0, bar)); o.sub.push_back(operand(s.substr(bar + 1))); return o; }
    if (isdigit((u8)s[0]) || s[0] == '-') {
      if (s[0] == '0' && s.size() == 10 && strchr("fF", s[1])) { o.setImm(strtoull(s.c_str() + 2, 0, 16)); o.isFloat = true; o.floatBits = 32; }
      else if (s[0] == '0' && s.size() == 18 && strchr("dD", s[1])) { o.setImm(strtoull(s.c_str() + 2, 0, 16)); o.isFloat = true; o.floatBits = 64; }
      else if (s.find('.') != string::npos) { o.setImm(bitsF64(atof(s.c_str()))); o.isFloat = true; o.floatBits = 64; }
      else o.setImm(s[0] == '-' ? (u64)strtoll(s.c_str(), 0, 0) : strtoull(s.c_str(), 0, 0));
      return o;
    }
    if (s == "_") return o;
    if (s == "WARP_SZ") { o.setImm(32); return o; }
    int r = findReg(s);
    if (r >= 0) { o.kind = OP_REG; o.reg = r; return o; }
    if (s[0] == '%') return specialReg(s);
    o.kind = OP_SYM;
    size_t b = s.find_first_of("[+");
    o.sym = trim(s.substr(0, b));
    if (b != string::npos) o.off = atoll(s.c_str() + b + 1);
    return o;
  }

  void registers(const string& st) {          // ".reg .b32 %r<10>", ".reg .pred p, q"
    size_t i = st.find('.', 1);
    if (i == string::npos) throw Error("line " + std::to_string(line) + ": " + st);
    size_t j = i + 1;
    while (j < st.size() && (isalnum((u8)st[j]) || st[j] == '_')) j++;
    Type t;
    if (!parseType(st.substr(i + 1, j - i - 1), t)) throw Error("line " + std::to_string(line) + ": register type " + st);
    int rows = t.w == 128 ? 2 : 1;
    auto add = [&](const string& n) {
      scopes.back()[n] = F->nreg;
      F->nreg += rows;
      for (int k = 0; k < rows; k++) F->regWidth.push_back(t.w);
    };
    for (auto& n : split(st.substr(j), ',')) {
      size_t lt = n.find('<');
      if (lt == string::npos) add(n);
      else for (int k = 0, c = atoi(n.c_str() + lt + 1); k < c; k++) add(n.substr(0, lt) + std::to_string(k));
    }
  }

  void instruction(string st, int ln) {
    Inst I;
    I.text = st;
    I.line = ln;
    I.srcFile = srcFile;
    I.srcLine = srcLine;
    if (st[0] == '@') {
      size_t e = 1;
      while (e < st.size() && !isspace((u8)st[e])) e++;
      string pr = st.substr(1, e - 1);
      if (pr[0] == '!') { I.predNeg = true; pr = pr.substr(1); }
      I.pred = findReg(pr);
      if (I.pred < 0) throw Error("PTX line " + std::to_string(ln) + ": unknown predicate: " + st);
      st = trim(st.substr(e));
    }
    size_t e = 0;
    while (e < st.size() && (isalnum((u8)st[e]) || st[e] == '.' || st[e] == '_' || st[e] == ':')) e++;
    vector<string> parts;
    string cur;
    for (char c : st.substr(0, e) + ".") { if (c == '.') { parts.push_back(cur); cur.clear(); } else cur += c; }
    I.op = parts[0];
    for (size_t i = 1; i < parts.size(); i++) {
      I.mods.push_back(parts[i]);
      Type t;
      if (parseType(parts[i], t)) I.types.push_back(t);
    }
    try {
      if (I.op == "call") parseCall(I, st.substr(e));
      else for (auto& s : split(st.substr(e), ',')) I.o.push_back(operand(s));
    } catch (Error& x) { I.why = x.what(); }    // reported when the instruction is executed
    for (auto& o : I.o) if (o.kind == OP_SREG && o.reg == SR_ENVREG) F->usesEnvreg = true;
    F->code.push_back(I);
  }
  void parseCall(Inst& I, const string& rest) {
    auto list = [&](string x) { x = trim(x); if (x.size() && x[0] == '(') x = trim(x.substr(1, x.rfind(')') - 1)); return split(x, ','); };
    auto ps = split(rest, ',');
    size_t k = 0;
    if (ps.size() && ps[0][0] == '(') { I.callRet = list(ps[0]); k = 1; }
    if (k < ps.size()) I.callee = ps[k++];
    if (k < ps.size()) I.callArgs = list(ps[k]);
    if (I.callee.size() && I.callee[0] == '%') I.why = "indirect call";
  }

  void function(const string& head) {
    bool entry = head.find(".entry") != string::npos;
    if (src[p] == ';') { p++; return; }         // prototype
    size_t k = head.find(entry ? ".entry" : ".func") + (entry ? 6 : 5);
    string rest = trim(head.substr(k)), rets;
    if (!entry && rest[0] == '(') { rets = rest.substr(1, rest.find(')') - 1); rest = trim(rest.substr(rest.find(')') + 1)); }
    size_t e = 0;
    while (e < rest.size() && identChar(rest[e])) e++;
    Function f;
    f.name = rest.substr(0, e);
    f.entry = entry;
    size_t a = rest.find('(', e), after = e;
    if (a != string::npos) {
      size_t b = rest.find(')', a);
      after = b;
      for (auto& s : split(rest.substr(a + 1, b - a - 1), ',')) f.params.push_back(declaration(s));
    }
    for (const char* d : {".maxntid", ".reqntid"}) {
      size_t q = rest.find(d, after);
      if (q == string::npos) continue;
      u32 n = 1;
      const char* s = rest.c_str() + q + 8;
      for (;;) { char* end; u32 v = strtoul(s, &end, 10); if (end == s) break; n *= v; s = end; while (*s == ' ') s++; if (*s != ',') break; s++; }
      f.maxThreads = n;
    }
    Function& g = M->functions[f.name] = f;
    F = &g;
    if (!entry) for (auto& x : split(rets, ',')) g.ret.push_back(declaration(x));
    body();
    F = nullptr;
  }

  void body() {
    p++;
    int depth = 1;
    scopes.assign(1, {});
    srcLine = 0;
    while (depth > 0) {
      skipSpace();
      if (p >= src.size()) throw Error("unexpected end of PTX in " + F->name);
      int ln = line;
      if (src[p] == '{') { p++; depth++; scopes.push_back({}); continue; }
      if (src[p] == '}') { p++; depth--; scopes.pop_back(); continue; }
      if (label()) continue;
      if (src.compare(p, 5, ".loc ") == 0 || src.compare(p, 5, ".loc\t") == 0) {
        sscanf(src.c_str() + p + 5, "%d %d", &srcFile, &srcLine);
        skipLine();
        continue;
      }
      if (src.compare(p, 5, ".file") == 0) { fileDirective(); continue; }
      string st = trim(until(";"));
      p++;
      for (auto& c : st) if (c == '\n' || c == '\t') c = ' ';
      if (st.empty()) continue;
      if (st[0] != '.') { instruction(st, ln); continue; }
      if (st.rfind(".reg", 0) == 0) { registers(st); continue; }
      if (st.rfind(".pragma", 0) == 0 || st.rfind(".maxn", 0) == 0) continue;
      Var v = declaration(st);
      if (v.space == "param") {                 // call argument: lives in local memory of the caller
        v.space = "local";
        v.align = std::max(v.align, 16);
        bool dup = false;
        for (auto& q : F->vars) if (q.name == v.name && q.space == "local") { q.size = std::max(q.size, v.size); dup = true; }
        if (dup) continue;
      }
      F->vars.push_back(v);
    }
    for (auto& I : F->code) {
      if (I.op == "bra") {
        auto l = I.o.empty() ? F->labels.end() : F->labels.find(I.o.back().sym);
        if (l == F->labels.end()) throw Error("PTX line " + std::to_string(I.line) + ": unknown label: " + I.text);
        I.target = l->second;
      } else if (I.op == "brx" && I.o.size() > 1)
        for (auto& t : M->branchTables[F->name + "/" + I.o[1].sym]) I.table.push_back(F->labels.at(t));
    }
  }
  bool label() {
    size_t q = p;
    while (q < src.size() && identChar(src[q])) q++;
    size_t q2 = q;
    while (q2 < src.size() && isspace((u8)src[q2])) q2++;
    if (q == p || q2 >= src.size() || src[q2] != ':' || src[q2 + 1] == ':') return false;
    string l = src.substr(p, q - p);
    p = q2 + 1;
    skipSpace();
    if (src.compare(p, 14, ".branchtargets") == 0) {
      p += 14;
      string t = until(";");
      p++;
      M->branchTables[F->name + "/" + l] = split(t, ',');
    } else if (src.compare(p, 14, ".callprototype") == 0) { until(";"); p++; }
    else F->labels[l] = (int)F->code.size();
    return true;
  }

  // Replace every direct call by the (already inlined) body of the callee: registers get fresh rows, formal
  // parameters become the caller's argument variables, "ret" jumps behind the body.
  void inlineCalls(Function& G, int depth) {
    if (G.inlined) return;
    if (depth > 20) throw Error("recursive call in " + G.name);
    for (size_t i = 0; i < G.code.size(); i++) {
      Inst I = G.code[i];
      if (I.op != "call" || I.why.size() || I.callee == "vprintf" || I.callee == "__assertfail") continue;
      auto it = M->functions.find(I.callee);
      if (it == M->functions.end()) { G.code[i].why = "call to unknown function " + I.callee; continue; }
      Function& H = it->second;
      inlineCalls(H, depth + 1);
      string prefix = "inl" + std::to_string(inlineId++) + "$";
      int base = G.nreg;
      G.nreg += H.nreg;
      G.regWidth.insert(G.regWidth.end(), H.regWidth.begin(), H.regWidth.end());
      G.usesEnvreg |= H.usesEnvreg;
      std::map<string, string> rename;
      for (size_t k = 0; k < H.params.size() && k < I.callArgs.size(); k++) rename[H.params[k].name] = I.callArgs[k];
      for (size_t k = 0; k < H.ret.size() && k < I.callRet.size(); k++) rename[H.ret[k].name] = I.callRet[k];
      for (auto& v : H.vars) {
        if (v.space == "local") { Var c = v; c.name = prefix + v.name; rename[v.name] = c.name; G.vars.push_back(c); }
        else {
          bool dup = false;
          for (auto& q : G.vars) dup |= q.name == v.name;
          if (!dup) G.vars.push_back(v);
        }
      }
      std::function<void(Operand&)> fix = [&](Operand& o) {
        if (o.kind == OP_REG) o.reg += base;
        if (o.kind == OP_SYM) { auto r = rename.find(o.sym); if (r != rename.end()) o.sym = r->second; }
        for (auto& x : o.sub) fix(x);
      };
      vector<Inst> b;
      if (I.pred >= 0) {                        // guarded call: branch around it
        Inst j;
        j.op = "bra"; j.text = I.text; j.line = I.line; j.pred = I.pred; j.predNeg = !I.predNeg;
        b.push_back(j);
      }
      size_t off = b.size();
      for (auto c : H.code) {
        for (auto& o : c.o) fix(o);
        for (auto& x : c.callArgs) if (rename.count(x)) x = rename[x];
        for (auto& x : c.callRet) if (rename.count(x)) x = rename[x];
        if (c.pred >= 0) c.pred += base;
        if (c.target >= 0) c.target += (int)(i + off);
        for (auto& t : c.table) t += (int)(i + off);
        b.push_back(c);
      }
      int end = (int)(i + b.size());
      for (auto& c : b) if (c.op == "ret") { c.op = "bra"; c.mods.clear(); c.target = end; }
      if (off) b[0].target = end;
      int delta = (int)b.size() - 1;
      for (auto& c : G.code) {
        if (c.target > (int)i) c.target += delta;
        for (auto& t : c.table) if (t > (int)i) t += delta;
      }
      G.code.erase(G.code.begin() + i);
      G.code.insert(G.code.begin() + i, b.begin(), b.end());
      i += b.size();
      i--;
    }
    G.inlined = true;
  }
};
}  // namespace

std::unique_ptr<Module> parseModule(const string& ptx) {
  std::unique_ptr<Module> M(new Module);
  Parser P(ptx, M.get());
  P.run();
  for (auto& v : M->vars)
    if (v.space == "global" || v.space == "const") {
      u64 a = mem::allocGlobal(std::max(v.size, 1), 0);
      if (v.init.size()) memcpy((void*)a, v.init.data(), v.init.size());
      M->globals[v.name] = a;
    }
  for (auto& r : M->relocs) {                   // initialisers holding the address of another variable
    string e = r.target;
    size_t g = e.find("generic(");
    if (g != string::npos) e = e.substr(g + 8, e.find(')') - g - 8);
    auto f = M->globals.find(e);
    if (f != M->globals.end() && M->globals.count(r.var)) memcpy((u8*)M->globals[r.var] + r.off, &f->second, 8);
  }
  return M;
}

void link(Module& M, Function& F) {
  if (F.linked) return;
  F.linked = true;
  std::map<string, u64> addr = M.globals;
  std::map<string, u32> localOff;
  std::map<string, bool> used;
  std::function<void(const Operand&)> visit = [&](const Operand& o) {
    if (o.kind == OP_SYM) used[o.sym] = true;
    for (auto& x : o.sub) visit(x);
  };
  for (auto& I : F.code) {
    for (auto& o : I.o) visit(o);
    for (auto& a : I.callArgs) used[a] = true;
    for (auto& a : I.callRet) used[a] = true;
  }
  u32 so = 0, lo = 0;
  vector<const Var*> dynamic;
  auto add = [&](const Var& v) {
    if (v.space == "shared") {
      if (v.isExtern && v.size == 0) { dynamic.push_back(&v); return; }
      so = (so + v.align - 1) / v.align * v.align;
      addr[v.name] = mem::sharedBase() + so;
      so += v.size;
    } else if (v.space == "local") {
      lo = (lo + v.align - 1) / v.align * v.align;
      localOff[v.name] = lo;
      lo += v.size;
    }
  };
  for (auto& v : M.vars) if (used.count(v.name)) add(v);     // only the shared variables this kernel names
  for (auto& v : F.vars) add(v);
  so = (so + 15) / 16 * 16;
  for (auto* v : dynamic) addr[v->name] = mem::sharedBase() + (so + v->align - 1) / v->align * v->align;
  F.staticShared = so;
  F.localSize = (lo + 15) / 16 * 16;
  u32 po = 0;
  for (auto& p : F.params) {
    po = (po + p.align - 1) / p.align * p.align;
    F.paramOffset.push_back(po);
    if (F.entry) addr[p.name] = mem::paramBase() + po;
    po += std::max(p.size, 1);
  }
  F.paramSize = po;
  std::function<void(Operand&, Inst&)> resolve = [&](Operand& o, Inst& I) {
    if (o.kind == OP_SYM) {
      auto l = localOff.find(o.sym);
      if (l != localOff.end()) { o.kind = OP_LOCAL; o.imm = l->second + o.off; o.off = 0; I.callParam |= I.space == SP_PARAM; }
      else {
        auto a = addr.find(o.sym);
        if (a != addr.end()) { u64 v = a->second + o.off; o.off = 0; o.setImm(v); }
        else if (M.functions.count(o.sym)) I.why = "address of function " + o.sym;
      }
    }
    for (auto& x : o.sub) resolve(x, I);
  };
  for (auto& I : F.code) {
    if (I.ctl == CT_BRANCH || I.ctl == CT_BRANCH_TABLE) continue;
    for (auto& o : I.o) resolve(o, I);
    for (auto* list : {&I.callArgs, &I.callRet})
      for (auto& a : *list) { Operand o; o.kind = OP_SYM; o.sym = a; resolve(o, I); I.o.push_back(o); }
    if (I.why.size()) decode(I, F);                            // becomes an "unsupported" instruction
  }
}
}  // namespace cuda_emulator
