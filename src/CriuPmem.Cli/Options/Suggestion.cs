namespace CriuPmem.Cli.Options;

/// <summary>Finds what a mistyped name was meant to be.</summary>
internal static class Suggestion
{
    /// <summary>The known name that is nearest to <paramref name="word"/>, or null when none is near.</summary>
    public static string? For(string word, IEnumerable<string> known)
    {
        string? best = null;
        int bestDistance = int.MaxValue;
        foreach (string name in known)
        {
            int distance = Distance(word, name);
            // A word that is contained (images → images-dir) is meant more often than letters tell.
            if (word.Length > 3 && name.Contains(word, StringComparison.OrdinalIgnoreCase)) distance = Math.Min(distance, 2);
            if (distance < bestDistance || (distance == bestDistance && name.Length < best!.Length)) (best, bestDistance) = (name, distance);
        }

        return bestDistance <= Math.Max(2, word.Length / 4) && bestDistance < word.Length ? best : null;
    }

    /// <summary>How many letters must be put in, taken out, replaced or swapped with their neighbour.</summary>
    internal static int Distance(string a, string b)
    {
        var rows = new int[a.Length + 1, b.Length + 1];
        for (int i = 0; i <= a.Length; i++) rows[i, 0] = i;
        for (int j = 0; j <= b.Length; j++) rows[0, j] = j;
        for (int i = 1; i <= a.Length; i++)
        {
            for (int j = 1; j <= b.Length; j++)
            {
                int replaced = rows[i - 1, j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
                int least = Math.Min(replaced, Math.Min(rows[i - 1, j], rows[i, j - 1]) + 1);
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) least = Math.Min(least, rows[i - 2, j - 2] + 1);
                rows[i, j] = least;
            }
        }

        return rows[a.Length, b.Length];
    }
}
